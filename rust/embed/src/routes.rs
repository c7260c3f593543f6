//! Which of several routes a vector belongs to, each known by a few examples.
//!
//! Cosines are taken in a space in which the examples of one route lie alike in every direction: where
//! they scatter most (the words that every customer of a bank uses), a difference says least. That
//! scatter, the covariance within the routes, is estimated from the examples themselves and shrunk
//! towards the same scatter in every direction, for there are few of them; so with one route or with
//! three examples it is nearly the plain cosine.

use crate::error::{EmbedError, Result};
use crate::similarity::{self, Vectors, dot, normalise};

/// Examples that are looked at, at most, to see how near routes lie to each other: more tell no more.
const LOOKED_AT: usize = 512;

/// Routes known by examples. Immutable.
#[derive(Debug, Clone)]
pub struct ExampleIndex {
    /// The rows of the lower triangle that whitens, one after another: row `i` has `i + 1` numbers.
    whitening: Vec<f32>,
    /// The examples at length one, as they came.
    plain: Vectors,
    /// The examples at length one after whitening.
    white: Vectors,
    /// Each example's route.
    routes: Vec<usize>,
    /// Each route's direction: the mean of its examples in `white`, at length one.
    means: Vectors,
    cohesion: Vec<f32>,
    nearness: Nearness,
}

/// How near an example lies to the others, in the mean over the examples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearness {
    /// The cosine with the mean of its own route without it.
    pub own_mean: f32,
    /// The cosine with the nearest other example of its own route.
    pub own_nearest: f32,
    /// The largest cosine with the mean of another route; `None` when there is one route.
    pub other_mean: Option<f32>,
    /// The cosine with the nearest example of another route; `None` when there is one route.
    pub other_nearest: Option<f32>,
}

/// How near a vector lies to each route.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// By route, the cosine with its mean.
    pub means: Vec<f32>,
    /// By route, the cosine with its nearest example.
    pub nearest: Vec<f32>,
    /// The nearest examples of all, nearest first, with the cosine before whitening.
    pub examples: Vec<(usize, f32)>,
}

impl ExampleIndex {
    /// Takes examples and, for each, its route: 0, 1, 2 …, at least two examples a route.
    ///
    /// `variance` is how much the examples of a route usually scatter in each direction, at length one;
    /// `strength` says how many examples that is to be worth beside those that are here.
    ///
    /// # Errors
    /// [`EmbedError::Invalid`] when the numbers do not fit each other, a route has fewer than two
    /// examples, an example is zero, or `variance` or `strength` is not above zero and finite.
    pub fn new(examples: &Vectors, routes: &[usize], variance: f64, strength: f64) -> Result<Self> {
        let members = members(examples, routes)?;
        if !(variance > 0.0 && variance.is_finite() && strength > 0.0 && strength.is_finite()) {
            return Err(invalid(
                "variance and strength must be finite and above zero",
            ));
        }
        let plain = examples.normalised()?;
        let whitening = whitening(&plain, &members, variance, strength)?;
        let mut white = Vec::with_capacity(plain.values().len());
        for row in plain.rows() {
            white.extend(whiten(&whitening, row)?);
        }
        let white = Vectors::new(white, plain.dimension())?;
        let (sums, cohesion) = sums(&white, &members);
        let means = Vectors::new(sums.concat(), plain.dimension())?.normalised()?;
        let nearness = nearness(&white, &sums, &means, routes)?;
        Ok(Self {
            whitening,
            plain,
            white,
            routes: routes.to_vec(),
            means,
            cohesion,
            nearness,
        })
    }

    /// Numbers in a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.plain.dimension()
    }

    /// By route, how alike its examples are: the root of their mean cosine with each other, the least
    /// being 0.1.
    #[must_use]
    pub fn cohesion(&self) -> &[f32] {
        &self.cohesion
    }

    /// How near the examples lie to each other.
    #[must_use]
    pub fn nearness(&self) -> Nearness {
        self.nearness
    }

    /// Says how near a vector lies to each route, and which `k` examples are nearest.
    ///
    /// # Errors
    /// [`EmbedError::Invalid`] when the vector has another dimension, is zero or is not finite.
    pub fn score(&self, query: &[f32], k: usize) -> Result<Scores> {
        if query.len() != self.dimension() {
            return Err(invalid(format!(
                "a vector of {} numbers cannot be compared with examples of {}",
                query.len(),
                self.dimension()
            )));
        }
        let mut plain = query.to_vec();
        normalise(&mut plain)?;
        let white = whiten(&self.whitening, &plain)?;
        let means = self.means.rows().map(|mean| dot(&white, mean));
        let means = means.collect::<Result<Vec<_>>>()?;
        let mut nearest = vec![-1.0_f32; means.len()];
        let mut scored = Vec::with_capacity(self.routes.len());
        for (index, (row, route)) in self.white.rows().zip(&self.routes).enumerate() {
            let cosine = dot(&white, row)?;
            nearest[*route] = nearest[*route].max(cosine);
            scored.push((index, cosine));
        }
        similarity::largest_first(&mut scored, k);
        for (index, score) in &mut scored {
            if let Some(row) = self.plain.row(*index) {
                *score = dot(&plain, row)?;
            }
        }
        Ok(Scores {
            means,
            nearest,
            examples: scored,
        })
    }
}

/// The examples of each route.
fn members(examples: &Vectors, routes: &[usize]) -> Result<Vec<Vec<usize>>> {
    if routes.len() != examples.len() || examples.is_empty() {
        return Err(invalid(format!(
            "{} examples need a route each, not {} routes",
            examples.len(),
            routes.len()
        )));
    }
    let count = routes.iter().max().map_or(0, |last| last.saturating_add(1));
    if count > routes.len() {
        return Err(invalid("routes are numbered 0, 1, 2 … without a gap"));
    }
    let mut members = vec![Vec::new(); count];
    for (example, route) in routes.iter().enumerate() {
        members[*route].push(example);
    }
    if let Some(route) = members.iter().position(|each| each.len() < 2) {
        return Err(invalid(format!(
            "route {route} needs at least two examples"
        )));
    }
    Ok(members)
}

/// The inverse of the Cholesky factor of the shrunk covariance within the routes, as packed rows.
fn whitening(
    examples: &Vectors,
    members: &[Vec<usize>],
    variance: f64,
    strength: f64,
) -> Result<Vec<f32>> {
    let size = examples.dimension();
    let mut scatter = vec![0.0_f64; size * (size + 1) / 2];
    for route in members {
        let mut mean = vec![0.0_f64; size];
        for row in route.iter().filter_map(|at| examples.row(*at)) {
            for (sum, value) in mean.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        let share = 1.0 / count(route.len());
        for row in route.iter().filter_map(|at| examples.row(*at)) {
            let centred: Vec<f64> = row
                .iter()
                .zip(&mean)
                .map(|(value, sum)| f64::from(*value) - sum * share)
                .collect();
            let mut at = 0;
            for (index, value) in centred.iter().enumerate() {
                let line = &mut scatter[at..=at + index];
                for (sum, other) in line.iter_mut().zip(&centred) {
                    *sum += value * other;
                }
                at += index + 1;
            }
        }
    }
    let freedom = count(examples.len() - members.len());
    let scale = 1.0 / (freedom + strength);
    for value in &mut scatter {
        *value *= scale;
    }
    let mut diagonal = 0;
    for index in 0..size {
        scatter[diagonal] += strength * variance * scale;
        diagonal += index + 2;
    }
    cholesky(&mut scatter, size)?;
    Ok(inverse(&scatter, size))
}

/// Where row `index` of a packed lower triangle begins.
fn row_at(index: usize) -> usize {
    index * (index + 1) / 2
}

/// Turns a packed symmetric positive definite matrix into its lower Cholesky factor.
fn cholesky(packed: &mut [f64], size: usize) -> Result<()> {
    for row in 0..size {
        let (above, here) = packed.split_at_mut(row_at(row));
        for column in 0..row {
            let other = &above[row_at(column)..=row_at(column) + column];
            let known = inner(&here[..column], &other[..column]);
            here[column] = (here[column] - known) / other[column];
        }
        let square = here[row] - inner(&here[..row], &here[..row]);
        if square.is_nan() || square <= 0.0 {
            return Err(invalid(
                "the examples' scatter cannot be told apart from rounding",
            ));
        }
        here[row] = square.sqrt();
    }
    Ok(())
}

/// The inverse of a packed lower triangle, likewise packed, in `f32`.
fn inverse(factor: &[f64], size: usize) -> Vec<f32> {
    let mut inverse = vec![0.0_f64; factor.len()];
    for row in 0..size {
        let line = &factor[row_at(row)..=row_at(row) + row];
        let (done, rest) = inverse.split_at_mut(row_at(row));
        // Row by row, so that the inner loop runs along memory.
        for (at, weight) in line[..row].iter().enumerate() {
            let earlier = &done[row_at(at)..=row_at(at) + at];
            for (sum, value) in rest.iter_mut().zip(earlier) {
                *sum -= weight * value;
            }
        }
        let scale = 1.0 / line[row];
        for value in &mut rest[..row] {
            *value *= scale;
        }
        rest[row] = scale;
    }
    inverse.into_iter().map(narrow).collect()
}

/// Whitens a vector and scales it to length one.
fn whiten(whitening: &[f32], vector: &[f32]) -> Result<Vec<f32>> {
    let mut out = Vec::with_capacity(vector.len());
    for index in 0..vector.len() {
        let begin = row_at(index);
        out.push(dot(&whitening[begin..=begin + index], &vector[..=index])?);
    }
    normalise(&mut out)?;
    Ok(out)
}

/// By route, the sum of its examples, and how alike they are.
fn sums(white: &Vectors, members: &[Vec<usize>]) -> (Vec<Vec<f32>>, Vec<f32>) {
    let mut all = Vec::with_capacity(members.len());
    let mut cohesion = Vec::with_capacity(members.len());
    for route in members {
        let mut sum = vec![0.0_f64; white.dimension()];
        for row in route.iter().filter_map(|at| white.row(*at)) {
            for (total, value) in sum.iter_mut().zip(row) {
                *total += f64::from(*value);
            }
        }
        let examples = count(route.len());
        // The square of a sum of unit vectors is their number and twice the cosine of each pair.
        let pairs = (inner(&sum, &sum) - examples) / (examples * (examples - 1.0));
        cohesion.push(narrow(pairs.max(0.01).sqrt()));
        all.push(sum.into_iter().map(narrow).collect());
    }
    (all, cohesion)
}

fn nearness(
    white: &Vectors,
    sums: &[Vec<f32>],
    means: &Vectors,
    routes: &[usize],
) -> Result<Nearness> {
    let step = routes.len().div_ceil(LOOKED_AT);
    let mut totals = [0.0_f64; 4];
    let mut looked_at = 0_usize;
    for (at, (row, route)) in white.rows().zip(routes).enumerate().step_by(step) {
        let rest: Vec<f32> = sums[*route]
            .iter()
            .zip(row)
            .map(|(sum, own)| sum - own)
            .collect();
        // Examples that cancel out have no mean direction: nothing is near it.
        let own_mean = similarity::cosine(row, &rest).unwrap_or(0.0);
        let mut other_mean = -1.0_f32;
        for (other, mean) in means.rows().enumerate() {
            if other != *route {
                other_mean = other_mean.max(dot(row, mean)?);
            }
        }
        let (mut own_nearest, mut other_nearest) = (-1.0_f32, -1.0_f32);
        for (other, (example, its_route)) in white.rows().zip(routes).enumerate() {
            if other == at {
                continue;
            }
            let cosine = dot(row, example)?;
            if its_route == route {
                own_nearest = own_nearest.max(cosine);
            } else {
                other_nearest = other_nearest.max(cosine);
            }
        }
        let found = [own_mean, own_nearest, other_mean, other_nearest];
        for (total, value) in totals.iter_mut().zip(found) {
            *total += f64::from(value);
        }
        looked_at += 1;
    }
    let [own_mean, own_nearest, other_mean, other_nearest] =
        totals.map(|total| narrow(total / count(looked_at)));
    let several = means.len() > 1;
    Ok(Nearness {
        own_mean,
        own_nearest,
        other_mean: several.then_some(other_mean),
        other_nearest: several.then_some(other_nearest),
    })
}

fn inner(left: &[f64], right: &[f64]) -> f64 {
    // Four sums at once, for one waits on itself.
    let mut sums = [0.0_f64; 4];
    let (left_fours, left_rest) = left.as_chunks::<4>();
    let (right_fours, right_rest) = right.as_chunks::<4>();
    for (a, b) in left_fours.iter().zip(right_fours) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = left_rest.iter().zip(right_rest).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of examples, far below 2^53"
)]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

fn invalid(message: impl Into<String>) -> EmbedError {
    EmbedError::Invalid(message.into())
}
