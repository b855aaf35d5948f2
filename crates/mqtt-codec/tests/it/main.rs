//! The codec from outside: against the corpus, under properties, and what it allocates.

mod allocation;
#[path = "../corpus/mod.rs"]
mod corpus;
mod corpus_test;
mod describe;
mod property;
mod strategy;
#[path = "../stream/mod.rs"]
mod stream;
