//! close_reasons
