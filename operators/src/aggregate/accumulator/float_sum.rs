//! Sums of floating-point numbers, kept in double precision.

use std::{any::Any, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float32Array, Float64Array},
    datatypes::{DataType, Float32Type, Float64Type},
};

use super::{Accumulator, GroupIds, Seen, downcast};
use crate::{Error, Result};

/// `sum(x)` of `real` and `double precision`.
#[derive(Debug)]
pub(crate) struct FloatSum {
    data_type: DataType,
    sums: Vec<f64>,
    seen: Seen,
}

impl FloatSum {
    /// Sums whose result is of type `data_type`: Float32 or Float64.
    pub(crate) fn new(data_type: DataType) -> Self {
        FloatSum { data_type, sums: Vec::new(), seen: Seen::default() }
    }

    fn add<T: Copy + Into<f64>>(&mut self, groups: &GroupIds<'_>, array: &dyn Array, values: &[T]) {
        match array.nulls() {
            Some(nulls) => nulls.valid_indices().for_each(|row| self.sums[groups.ids()[row] as usize] += values[row].into()),
            None => groups.ids().iter().zip(values).for_each(|(group, value)| self.sums[*group as usize] += (*value).into()),
        }
    }
}

impl Accumulator for FloatSum {
    fn resize(&mut self, num_groups: usize) {
        self.sums.resize(num_groups, 0.0);
        self.seen.resize(num_groups);
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        let array = &arguments[0];
        self.seen.update(groups, array.nulls().filter(|nulls| nulls.null_count() > 0));
        match array.data_type() {
            DataType::Float32 => self.add(groups, array, array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => self.add(groups, array, array.as_primitive::<Float64Type>().values()),
            other => return Err(Error::Internal(format!("floating-point sum of {other}"))),
        }
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        self.seen.merge(groups, &from.seen, from_groups);
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            self.sums[*group as usize] += from.sums[*from_group as usize];
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        let nulls = self.seen.nulls(range.clone());
        let sums = &self.sums[range];
        Ok(match self.data_type {
            DataType::Float32 => Arc::new(Float32Array::new(sums.iter().map(|sum| *sum as f32).collect(), nulls)),
            _ => Arc::new(Float64Array::new(sums.to_vec().into(), nulls)),
        })
    }

    fn num_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<f64>() + self.seen.num_bytes()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(FloatSum::new(self.data_type.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
