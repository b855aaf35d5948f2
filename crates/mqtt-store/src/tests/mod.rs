//! Tests that need a look inside.

mod damage;
mod encoding;
mod model;
mod power_loss;
mod records;
