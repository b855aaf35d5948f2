//! regressions_2018
