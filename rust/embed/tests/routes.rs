//! The index of examples against a slow, obvious one in `f64`.
#![expect(clippy::cast_precision_loss, reason = "numbers of examples")]

use cascadeflow_embed::{ExampleIndex, Vectors};
use proptest::prelude::*;

const VARIANCE: f64 = 0.01;
const STRENGTH: f64 = 5.0;

fn unit(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
    row.iter().map(|value| value / length).collect()
}

fn product(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

/// Solves `matrix · x = vector` by elimination with pivots.
fn solve(matrix: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    let size = vector.len();
    let mut rows: Vec<Vec<f64>> = matrix
        .iter()
        .zip(vector)
        .map(|(row, value)| row.iter().copied().chain([*value]).collect())
        .collect();
    for at in 0..size {
        let pivot = (at..size)
            .max_by(|a, b| rows[*a][at].abs().total_cmp(&rows[*b][at].abs()))
            .unwrap_or(at);
        rows.swap(at, pivot);
        for below in 0..size {
            if below != at {
                let factor = rows[below][at] / rows[at][at];
                let pivot = rows[at].clone();
                for (value, other) in rows[below].iter_mut().zip(pivot).skip(at) {
                    *value -= factor * other;
                }
            }
        }
    }
    (0..size).map(|at| rows[at][size] / rows[at][at]).collect()
}

/// The shrunk covariance within the routes, and the examples at length one.
fn covariance(examples: &[Vec<f32>], routes: &[usize]) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let rows: Vec<Vec<f64>> = examples
        .iter()
        .map(|row| {
            unit(
                &row.iter()
                    .map(|value| f64::from(*value))
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    let size = rows[0].len();
    let count = routes.iter().max().map_or(0, |last| last + 1);
    let mut matrix = vec![vec![0.0; size]; size];
    for route in 0..count {
        let own: Vec<&Vec<f64>> = rows
            .iter()
            .zip(routes)
            .filter(|(_, its)| **its == route)
            .map(|(row, _)| row)
            .collect();
        let mean: Vec<f64> = (0..size)
            .map(|at| own.iter().map(|row| row[at]).sum::<f64>() / own.len() as f64)
            .collect();
        for row in own {
            for i in 0..size {
                for j in 0..size {
                    matrix[i][j] += (row[i] - mean[i]) * (row[j] - mean[j]);
                }
            }
        }
    }
    let scale = (rows.len() - count) as f64 + STRENGTH;
    for (i, row) in matrix.iter_mut().enumerate() {
        for value in row.iter_mut() {
            *value /= scale;
        }
        row[i] += STRENGTH * VARIANCE / scale;
    }
    (matrix, rows)
}

/// The cosine in the whitened space: no factor is needed for it, only the inverse.
fn white_cosine(matrix: &[Vec<f64>], left: &[f64], right: &[f64]) -> f64 {
    let of_right = solve(matrix, right);
    let of_left = solve(matrix, left);
    product(left, &of_right) / (product(left, &of_left) * product(right, &of_right)).sqrt()
}

/// Two to four routes of two to five examples, and a query, of one dimension.
fn routes() -> impl Strategy<Value = (Vec<Vec<f32>>, Vec<usize>, Vec<f32>)> {
    (2_usize..9, prop::collection::vec(2_usize..6, 1..5)).prop_flat_map(|(size, counts)| {
        let total: usize = counts.iter().sum();
        let row = prop::collection::vec(-1.0_f32..1.0, size).prop_filter("a direction", |row| {
            row.iter().map(|v| v * v).sum::<f32>() > 0.05
        });
        let routes: Vec<usize> = counts
            .iter()
            .enumerate()
            .flat_map(|(route, count)| vec![route; *count])
            .collect();
        (prop::collection::vec(row.clone(), total), Just(routes), row)
    })
}

proptest! {
    #[test]
    fn scores_are_cosines_in_the_whitened_space((examples, routes, query) in routes()) {
        let size = query.len();
        let index = ExampleIndex::new(
            &Vectors::new(examples.concat(), size).unwrap(), &routes, VARIANCE, STRENGTH,
        );
        // Examples of a route that cancel out have no mean; that is refused, and is not looked at here.
        let Ok(index) = index else { return Ok(()) };
        let found = index.score(&query, examples.len()).unwrap();

        let (matrix, rows) = covariance(&examples, &routes);
        let query = unit(&query.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
        let count = routes.iter().max().unwrap() + 1;
        for route in 0..count {
            let own: Vec<&Vec<f64>> =
                rows.iter().zip(&routes).filter(|(_, its)| **its == route).map(|(row, _)| row).collect();
            let nearest = own.iter().map(|row| white_cosine(&matrix, &query, row)).fold(-1.0, f64::max);
            prop_assert!((f64::from(found.nearest[route]) - nearest).abs() < 1e-4);
            // Of the whitened examples at length one, the mean's direction; whitening is linear.
            let mut sum = vec![0.0; size];
            let mut pairs = 0.0;
            for (i, row) in own.iter().enumerate() {
                let length = product(row, &solve(&matrix, row)).sqrt();
                for at in 0..size { sum[at] += row[at] / length; }
                for other in &own[i + 1..] { pairs += white_cosine(&matrix, row, other); }
            }
            pairs /= (own.len() * (own.len() - 1)) as f64 / 2.0;
            let length = product(&sum, &solve(&matrix, &sum)).sqrt();
            if length > 0.05 {
                let mean = white_cosine(&matrix, &query, &sum);
                prop_assert!((f64::from(found.means[route]) - mean).abs() < 1e-3);
            }
            let cohesion = f64::from(index.cohesion()[route]);
            prop_assert!((cohesion - pairs.max(0.01).sqrt()).abs() < 1e-3);
        }
        // The examples come with their plain cosines, each once.
        let mut seen: Vec<usize> = found.examples.iter().map(|(at, _)| *at).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..examples.len()).collect::<Vec<_>>());
        for (at, cosine) in &found.examples {
            prop_assert!((f64::from(*cosine) - product(&query, &rows[*at])).abs() < 1e-5);
        }
    }

    #[test]
    fn an_examples_nearness_leaves_the_example_itself_out((examples, routes, _) in routes()) {
        let size = examples[0].len();
        let index = ExampleIndex::new(
            &Vectors::new(examples.concat(), size).unwrap(), &routes, VARIANCE, STRENGTH,
        );
        let Ok(index) = index else { return Ok(()) };
        let (matrix, rows) = covariance(&examples, &routes);
        let (mut own, mut other) = (0.0, 0.0);
        for (i, row) in rows.iter().enumerate() {
            let cosines = |same: bool| {
                (0..rows.len())
                    .filter(|j| *j != i && (routes[*j] == routes[i]) == same)
                    .map(|j| white_cosine(&matrix, row, &rows[j]))
                    .fold(-1.0, f64::max)
            };
            own += cosines(true);
            other += cosines(false);
        }
        let found = index.nearness();
        let several = routes.iter().max() > Some(&0);
        prop_assert!((f64::from(found.own_nearest) - own / rows.len() as f64).abs() < 1e-4);
        prop_assert_eq!(found.other_nearest.is_some(), several);
        prop_assert_eq!(found.other_mean.is_some(), several);
        if let Some(nearest) = found.other_nearest {
            prop_assert!((f64::from(nearest) - other / rows.len() as f64).abs() < 1e-4);
        }
    }
}

fn index(rows: &[[f32; 2]], routes: &[usize]) -> Result<ExampleIndex, String> {
    Vectors::new(rows.concat(), 2)
        .and_then(|examples| ExampleIndex::new(&examples, routes, VARIANCE, STRENGTH))
        .map_err(|error| error.to_string())
}

#[test]
fn what_does_not_fit_is_refused() {
    let rows = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]];
    for (routes, says) in [
        (vec![0, 0], "3 examples need a route each, not 2"),
        (vec![0, 0, 1], "route 1 needs at least two"),
        (vec![0, 0, 9], "without a gap"),
        (vec![0, 0, usize::MAX], "without a gap"),
    ] {
        let error = index(&rows, &routes).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert!(
        index(&[[0.0, 0.0], [1.0, 0.0]], &[0, 0])
            .unwrap_err()
            .contains("zeros")
    );
    let rows = Vectors::new(vec![1.0, 0.0, 1.0, 0.1], 2).unwrap();
    for (variance, strength) in [
        (0.0, 1.0),
        (1.0, 0.0),
        (f64::NAN, 1.0),
        (1.0, f64::INFINITY),
    ] {
        assert!(ExampleIndex::new(&rows, &[0, 0], variance, strength).is_err());
    }
}

#[test]
fn a_query_of_another_kind_is_refused() {
    let index = index(&[[1.0, 0.0], [1.0, 0.1]], &[0, 0]).unwrap();
    assert!(index.score(&[1.0, 0.0, 0.0], 1).is_err());
    assert!(index.score(&[0.0, 0.0], 1).is_err());
    assert!(index.score(&[f32::NAN, 0.0], 1).is_err());
    assert_eq!(index.score(&[1.0, 0.0], 0).unwrap().examples, []);
}
