//! The fast sums against slow, obvious ones in `f64`.

use cascadeflow_embed::Vectors;
use cascadeflow_embed::similarity::{cosine, dot, normalise};
use proptest::prelude::*;

fn slow_dot(left: &[f32], right: &[f32]) -> f64 {
    let mut sum = 0.0;
    for index in 0..left.len() {
        sum += f64::from(left[index]) * f64::from(right[index]);
    }
    sum
}

/// What a sum of these products may be off by, in `f32`: it grows with the products' sizes, not with
/// their sum, which may be small because they cancel.
fn allowance(left: &[f32], right: &[f32]) -> f64 {
    let sizes: f64 = left
        .iter()
        .zip(right)
        .map(|(a, b)| (f64::from(*a) * f64::from(*b)).abs())
        .sum();
    let terms = f64::from(u32::try_from(left.len()).unwrap_or(u32::MAX));
    sizes * f64::from(f32::EPSILON) * (terms / 16.0 + 6.0) + f64::from(f32::MIN_POSITIVE) * terms
}

/// Two vectors of one length, with lengths on both sides of every multiple of the number of lanes.
fn pair(value: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    (1_usize..130).prop_flat_map(move |length| {
        let vector = prop::collection::vec(value.clone(), length);
        (vector.clone(), vector)
    })
}

/// Any finite number, from the smallest subnormal to the largest.
fn finite() -> impl Strategy<Value = f32> + Clone {
    use prop::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    NORMAL | SUBNORMAL | ZERO | POSITIVE | NEGATIVE
}

proptest! {
    #[test]
    fn a_dot_product_is_that_of_f64((left, right) in pair(-10.0_f32..10.0)) {
        let have = f64::from(dot(&left, &right)?);
        prop_assert!((have - slow_dot(&left, &right)).abs() <= allowance(&left, &right));
    }

    #[test]
    fn a_cosine_is_that_of_f64_however_large_or_small_the_numbers((left, right) in pair(finite())) {
        let lengths = slow_dot(&left, &left).sqrt() * slow_dot(&right, &right).sqrt();
        match cosine(&left, &right) {
            Ok(have) => {
                let want = slow_dot(&left, &right) / lengths;
                prop_assert!((f64::from(have) - want).abs() < 1e-5, "{have} is not {want}");
                prop_assert!((-1.0..=1.0).contains(&have));
            }
            Err(_) => prop_assert!(lengths == 0.0),
        }
    }

    #[test]
    fn a_vector_is_scaled_to_length_one_and_keeps_its_direction((mut vector, _) in pair(finite())) {
        let before = vector.clone();
        let length = slow_dot(&before, &before).sqrt();
        match normalise(&mut vector) {
            Ok(()) => {
                prop_assert!((slow_dot(&vector, &vector).sqrt() - 1.0).abs() < 1e-5);
                for (now, then) in vector.iter().zip(&before) {
                    prop_assert!((f64::from(*now) - f64::from(*then) / length).abs() < 1e-6);
                }
            }
            Err(_) => prop_assert!(length == 0.0 && vector == before),
        }
    }

    #[test]
    fn nothing_that_holds_a_nan_or_an_infinity_is_ever_given_a_number(
        (mut left, right) in pair(-10.0_f32..10.0),
        at in any::<prop::sample::Index>(),
        bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ) {
        let at = at.index(left.len());
        left[at] = bad;
        prop_assert!(dot(&left, &right).is_err());
        prop_assert!(dot(&right, &left).is_err());
        prop_assert!(cosine(&left, &right).is_err());
        prop_assert!(cosine(&right, &left).is_err());
        let dimension = left.len();
        prop_assert!(Vectors::new(left.clone(), dimension).is_err());
        prop_assert!(normalise(&mut left).is_err());
    }

    #[test]
    fn the_nearest_rows_are_those_of_a_full_sort(
        rows in prop::collection::vec(prop::collection::vec(-3_i8..=3, 4), 1..60),
        query in prop::collection::vec(-3_i8..=3, 4),
        k in 0_usize..70,
    ) {
        // Whole numbers, so that ties are many and every sum is exact.
        let values: Vec<f32> = rows.iter().flatten().map(|value| f32::from(*value)).collect();
        let query: Vec<f32> = query.into_iter().map(f32::from).collect();
        let have = Vectors::new(values, 4)?.top_k(&query, k)?;
        let mut want: Vec<(usize, f64)> = rows
            .iter()
            .map(|row| row.iter().map(|value| f32::from(*value)).collect::<Vec<_>>())
            .map(|row| slow_dot(&row, &query))
            .enumerate()
            .collect();
        want.sort_by(|a, b| b.1.total_cmp(&(a.1 + 0.0)).then(a.0.cmp(&b.0)));
        want.truncate(k);
        let have: Vec<_> = have.into_iter().map(|(index, score)| (index, f64::from(score))).collect();
        prop_assert_eq!(have, want);
    }

    #[test]
    fn every_pair_of_rows_is_measured(
        (first, second) in pair(1.0_f32..10.0),
    ) {
        let dimension = first.len();
        let both = Vectors::new([first.clone(), second.clone()].concat(), dimension)?;
        let one = Vectors::new(second.clone(), dimension)?;
        prop_assert_eq!(both.dots(&one)?, vec![vec![dot(&first, &second)?], vec![dot(&second, &second)?]]);
        prop_assert_eq!(
            one.cosines(&both)?,
            vec![vec![cosine(&second, &first)?, cosine(&second, &second)?]]
        );
    }
}

#[test]
fn vectors_of_different_lengths_are_not_compared() {
    assert!(dot(&[1.0], &[1.0, 2.0]).is_err());
    assert!(cosine(&[1.0], &[1.0, 2.0]).is_err());
}

#[test]
fn a_vector_of_zeros_has_no_cosine() {
    assert!(cosine(&[0.0, 0.0], &[1.0, 2.0]).is_err());
    assert!(cosine(&[], &[]).is_err());
}

#[test]
fn rows_are_whole_and_have_numbers() {
    assert!(Vectors::new(vec![1.0, 2.0, 3.0], 2).is_err());
    assert!(Vectors::new(vec![], 0).is_err());
    assert!(
        Vectors::new(vec![], 3).is_ok_and(|none| none.is_empty() && none.rows().next().is_none())
    );
}

#[test]
fn an_error_names_the_row_that_has_no_direction() {
    let vectors = Vectors::new(vec![1.0, 2.0, 0.0, 0.0], 2);
    let error = vectors.and_then(|vectors| vectors.normalised());
    assert!(error.is_err_and(|error| error.to_string().contains("vector 1")));
}
