//! The subscription trie and the retained message store: plain data, no clock, no runtime.
