//! The codec from outside: against the corpus, under properties, under fuzzing, and what it allocates.

mod allocation;
#[path = "../corpus/mod.rs"]
mod corpus;
mod corpus_test;
mod describe;
mod fuzz;
mod property;
mod strategy;
