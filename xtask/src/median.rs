//! The one in the middle, of all that measures several times.

/// That of two in the middle is between them; of nothing it is no number.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2);
    let lower = values.get(values.len().saturating_sub(1) / 2);
    upper.zip(lower).map_or(f64::NAN, |(upper, lower)| f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_between_two() {
        let is = |values: &[f64], wanted: f64| assert!((median(values) - wanted).abs() < f64::EPSILON);
        is(&[3.0, 1.0], 2.0);
        is(&[3.0, 1.0, 2.0], 2.0);
        is(&[7.0], 7.0);
        assert!(median(&[]).is_nan());
    }
}
