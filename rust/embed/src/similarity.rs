//! Dot products, cosines and nearest neighbours over `f32` vectors.
//!
//! Sums are kept in [`LANES`] independent partial sums, which the compiler turns into vector
//! instructions of whatever width the target has; no instruction set is assumed. A partial sum holds
//! `n / LANES` terms, so the rounding error grows with `n / LANES`, not with `n`.
//!
//! A result that is not finite is an error, never a number: a NaN or an infinity in any input makes
//! every product it meets NaN or infinite, so looking at the result is enough to refuse it. A vector of
//! zeros has no direction: a cosine with it and its unit vector are errors too.

use std::cmp::Ordering;

use crate::error::{EmbedError, Result};

/// Independent partial sums: four registers of four lanes on plain x86-64, two of eight on AVX2.
const LANES: usize = 16;

/// Squared lengths outside this range have lost digits in `f32`, or left it; they are summed again in
/// `f64`, which holds the square of every finite `f32`.
const EXACT_ENOUGH: std::ops::RangeInclusive<f32> = 1e-20..=1e20;

/// The dot product of two vectors of one length.
///
/// # Errors
/// [`EmbedError::Invalid`] when the lengths differ, or when the result is not finite: an input holds a
/// NaN or an infinity, or the sum does not fit an `f32`.
pub fn dot(left: &[f32], right: &[f32]) -> Result<f32> {
    same_length(left, right)?;
    finite(raw_dot(left, right))
}

/// The cosine of the angle between two vectors of one length, from -1 to 1.
///
/// # Errors
/// [`EmbedError::Invalid`] when the lengths differ, a vector holds a NaN or an infinity, or is zero.
pub fn cosine(left: &[f32], right: &[f32]) -> Result<f32> {
    same_length(left, right)?;
    let (product, left_square, right_square) = raw_cosine_parts(left, right);
    if EXACT_ENOUGH.contains(&left_square) && EXACT_ENOUGH.contains(&right_square) {
        return Ok((product / (left_square.sqrt() * right_square.sqrt())).clamp(-1.0, 1.0));
    }
    let length = norm(left)? * norm(right)?;
    let product: f64 = left
        .iter()
        .zip(right)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum();
    Ok(narrow((product / length).clamp(-1.0, 1.0)))
}

/// Scales a vector to length one.
///
/// # Errors
/// [`EmbedError::Invalid`] when the vector holds a NaN or an infinity, or is zero; it is then as it was.
pub fn normalise(vector: &mut [f32]) -> Result<()> {
    let square = raw_dot(vector, vector);
    if EXACT_ENOUGH.contains(&square) {
        let scale = square.sqrt().recip();
        for value in vector {
            *value *= scale;
        }
    } else {
        let length = norm(vector)?;
        for value in vector {
            *value = narrow(f64::from(*value) / length);
        }
    }
    Ok(())
}

/// Rows of one dimension, one after another in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    values: Vec<f32>,
    dimension: usize,
}

impl Vectors {
    /// Takes `values` as rows of `dimension` numbers.
    ///
    /// # Errors
    /// [`EmbedError::Invalid`] when `dimension` is zero, the values are no whole number of rows, or one
    /// of them is a NaN or an infinity.
    pub fn new(values: Vec<f32>, dimension: usize) -> Result<Self> {
        if dimension == 0 {
            return Err(invalid("a vector has at least one number"));
        }
        if !values.len().is_multiple_of(dimension) {
            return Err(invalid(format!(
                "{} numbers are no whole rows of {dimension}",
                values.len()
            )));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (row, value) = (at / dimension, values[at]);
            return Err(invalid(format!(
                "vector {row} holds {value}: every number must be finite"
            )));
        }
        Ok(Self { values, dimension })
    }

    /// The same numbers of every row: those from `start` on, up to `end`.
    ///
    /// # Errors
    /// [`EmbedError::Invalid`] when a row has no such numbers, or there are none between.
    pub fn columns(&self, start: usize, end: usize) -> Result<Self> {
        if start >= end || end > self.dimension {
            return Err(invalid(format!(
                "a row of {} numbers has none from {start} to {end}",
                self.dimension
            )));
        }
        let values = self.rows().flat_map(|row| &row[start..end]).copied();
        Ok(Self {
            values: values.collect(),
            dimension: end - start,
        })
    }

    /// Numbers in a row.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All numbers, row by row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The rows in order.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dimension)
    }

    /// One row, or `None` past the end.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.rows().nth(index)
    }

    /// The same rows, each scaled to length one.
    ///
    /// # Errors
    /// [`EmbedError::Invalid`] when a row is zero; it says which.
    pub fn normalised(&self) -> Result<Self> {
        let mut values = self.values.clone();
        for (row, vector) in values.chunks_exact_mut(self.dimension).enumerate() {
            normalise(vector).map_err(|error| invalid(format!("vector {row}: {error}")))?;
        }
        Ok(Self {
            values,
            dimension: self.dimension,
        })
    }

    /// The dot product of each row with each of `other`'s rows: `self.len()` rows of `other.len()`.
    ///
    /// # Errors
    /// As [`dot`].
    pub fn dots(&self, other: &Self) -> Result<Vec<Vec<f32>>> {
        self.pairwise(other, dot)
    }

    /// The cosine of each row with each of `other`'s rows: `self.len()` rows of `other.len()`.
    ///
    /// # Errors
    /// As [`cosine`].
    pub fn cosines(&self, other: &Self) -> Result<Vec<Vec<f32>>> {
        self.pairwise(other, cosine)
    }

    /// The `k` rows with the largest dot product with `query`, largest first, the lower index first
    /// among equals; all rows when there are fewer. Between unit vectors the dot product is the cosine.
    ///
    /// # Errors
    /// As [`dot`].
    pub fn top_k(&self, query: &[f32], k: usize) -> Result<Vec<(usize, f32)>> {
        let mut scored = Vec::with_capacity(self.len());
        for (index, row) in self.rows().enumerate() {
            scored.push((index, dot(query, row)?));
        }
        largest_first(&mut scored, k);
        Ok(scored)
    }

    fn pairwise(
        &self,
        other: &Self,
        measure: fn(&[f32], &[f32]) -> Result<f32>,
    ) -> Result<Vec<Vec<f32>>> {
        self.rows()
            .map(|left| other.rows().map(|right| measure(left, right)).collect())
            .collect()
    }
}

/// Keeps the `k` pairs with the largest scores, largest first, the lower index first among equals.
/// Scores must be finite: then two of them always compare; 0.0 and -0.0 are equals.
pub(crate) fn largest_first(scored: &mut Vec<(usize, f32)>, k: usize) {
    let best_first = |left: &(usize, f32), right: &(usize, f32)| {
        let by_score = right.1.partial_cmp(&left.1).unwrap_or(Ordering::Equal);
        by_score.then(left.0.cmp(&right.0))
    };
    if k == 0 {
        scored.clear();
    } else if k < scored.len() {
        scored.select_nth_unstable_by(k - 1, best_first);
        scored.truncate(k);
    }
    scored.sort_unstable_by(best_first);
}

fn raw_dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (left_chunks, left_rest) = left.as_chunks::<LANES>();
    let (right_chunks, right_rest) = right.as_chunks::<LANES>();
    for (a, b) in left_chunks.iter().zip(right_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(left_rest.iter().zip(right_rest)) {
        *sum += a * b;
    }
    total(sums)
}

/// The dot product and both squared lengths.
fn raw_cosine_parts(left: &[f32], right: &[f32]) -> (f32, f32, f32) {
    (
        raw_dot(left, right),
        raw_dot(left, left),
        raw_dot(right, right),
    )
}

/// Adds the lanes pairwise: the same order at any vector width.
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// The length, summed in `f64`: no finite `f32` overflows it or vanishes in it.
fn norm(vector: &[f32]) -> Result<f64> {
    let square: f64 = vector
        .iter()
        .map(|value| f64::from(*value) * f64::from(*value))
        .sum();
    if !square.is_finite() {
        return Err(invalid("a vector holds a NaN or an infinity"));
    }
    if square == 0.0 {
        return Err(invalid("a vector of zeros has no direction"));
    }
    Ok(square.sqrt())
}

fn same_length(left: &[f32], right: &[f32]) -> Result<()> {
    if left.len() == right.len() {
        return Ok(());
    }
    Err(invalid(format!(
        "vectors of {} and {} numbers cannot be compared",
        left.len(),
        right.len()
    )))
}

fn finite(value: f32) -> Result<f32> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(invalid(
        "the dot product is not finite: a vector holds a NaN or an infinity, or numbers too large",
    ))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a ratio of at most one, rounded to f32"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

fn invalid(message: impl Into<String>) -> EmbedError {
    EmbedError::Invalid(message.into())
}
