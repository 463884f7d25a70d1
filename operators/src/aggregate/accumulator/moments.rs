//! Variance and standard deviation.
//!
//! Count, mean and sum of squared deviations are updated by Welford's method and merged by that of Chan,
//! Golub and LeVeque, so that large values with a small spread lose no digits.

use std::{any::Any, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array},
    datatypes::Float64Type,
};

use super::{Accumulator, GroupIds, downcast};
use crate::Result;

/// Which number is made of the moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Dispersion {
    /// Over n - 1; NULL for fewer than two values. Otherwise over n.
    pub(crate) of_sample: bool,
    /// The square root of the variance.
    pub(crate) is_deviation: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

/// `var_pop`, `var_samp`, `stddev_pop`, `stddev_samp` of Float64.
#[derive(Debug)]
pub(crate) struct Spread {
    dispersion: Dispersion,
    moments: Vec<Moments>,
}

impl Spread {
    /// An accumulator of `dispersion`.
    pub(crate) fn new(dispersion: Dispersion) -> Self {
        Spread { dispersion, moments: Vec::new() }
    }
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let deviation = value - self.mean;
        self.mean += deviation / self.count;
        self.squares += deviation * (value - self.mean);
    }

    fn merge(&mut self, other: Moments) {
        if other.count == 0.0 {
            return;
        }
        let count = self.count + other.count;
        let distance = other.mean - self.mean;
        self.squares += other.squares + distance * distance * (self.count * other.count / count);
        self.mean += distance * (other.count / count);
        self.count = count;
    }

    fn dispersion(self, dispersion: Dispersion) -> Option<f64> {
        let degrees = if dispersion.of_sample { self.count - 1.0 } else { self.count };
        let variance = (degrees > 0.0).then(|| self.squares / degrees)?;
        Some(if dispersion.is_deviation { variance.sqrt() } else { variance })
    }
}

impl Accumulator for Spread {
    fn resize(&mut self, num_groups: usize) {
        self.moments.resize(num_groups, Moments::default());
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        let array = arguments[0].as_primitive::<Float64Type>();
        for (row, group) in groups.ids().iter().enumerate() {
            if array.is_valid(row) {
                self.moments[*group as usize].add(array.value(row));
            }
        }
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            self.moments[*group as usize].merge(from.moments[*from_group as usize]);
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        Ok(Arc::new(self.moments[range].iter().map(|moments| moments.dispersion(self.dispersion)).collect::<Float64Array>()))
    }

    fn num_bytes(&self) -> usize {
        self.moments.capacity() * size_of::<Moments>()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Spread::new(self.dispersion))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
