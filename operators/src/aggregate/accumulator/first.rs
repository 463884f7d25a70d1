//! The first value of a group, NULL included: columns that the keys determine.
//!
//! Once a group has its value, its rows cost a comparison.

use std::{any::Any, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray},
    buffer::NullBuffer,
    datatypes::DataType,
};

use super::{
    Accumulator, GroupIds, downcast,
    text::{GroupTexts, TextColumn},
};
use crate::Result;

/// Where the values of a type are kept, one per group.
pub(crate) trait Values: Send + Sync + 'static {
    /// What a batch's column is read through.
    type Column;
    /// An empty store for `data_type`.
    fn new(data_type: &DataType) -> Self;
    /// Reads a column of a batch.
    fn column(array: &ArrayRef) -> Result<Self::Column>;
    /// Makes room for `num_groups`.
    fn resize(&mut self, num_groups: usize);
    /// Stores row `row` of `column` for `group`; answers whether it is a value (not NULL).
    fn set(&mut self, group: usize, column: &Self::Column, row: usize) -> Result<bool>;
    /// Takes over the value of `from_group`.
    fn copy(&mut self, group: usize, from: &Self, from_group: usize) -> Result<()>;
    /// The values of groups `range`.
    fn array(&self, range: Range<usize>, nulls: Option<NullBuffer>, data_type: &DataType) -> ArrayRef;
    /// Bytes allocated.
    fn num_bytes(&self) -> usize;
}

/// Values of a fixed-width type.
pub(crate) struct FixedValues<T: ArrowPrimitiveType>(Vec<T::Native>);

impl<T: ArrowPrimitiveType> Values for FixedValues<T> {
    type Column = PrimitiveArray<T>;

    fn new(_data_type: &DataType) -> Self {
        FixedValues(Vec::new())
    }

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        Ok(array.as_primitive::<T>().clone())
    }

    fn resize(&mut self, num_groups: usize) {
        self.0.resize(num_groups, T::Native::default());
    }

    fn set(&mut self, group: usize, column: &Self::Column, row: usize) -> Result<bool> {
        self.0[group] = column.values()[row];
        Ok(column.is_valid(row))
    }

    fn copy(&mut self, group: usize, from: &Self, from_group: usize) -> Result<()> {
        self.0[group] = from.0[from_group];
        Ok(())
    }

    fn array(&self, range: Range<usize>, nulls: Option<NullBuffer>, data_type: &DataType) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(self.0[range].to_vec().into(), nulls).with_data_type(data_type.clone()))
    }

    fn num_bytes(&self) -> usize {
        self.0.capacity() * size_of::<T::Native>()
    }
}

/// Booleans.
pub(crate) struct BooleanValues(Vec<bool>);

impl Values for BooleanValues {
    type Column = BooleanArray;

    fn new(_data_type: &DataType) -> Self {
        BooleanValues(Vec::new())
    }

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        Ok(array.as_boolean().clone())
    }

    fn resize(&mut self, num_groups: usize) {
        self.0.resize(num_groups, false);
    }

    fn set(&mut self, group: usize, column: &Self::Column, row: usize) -> Result<bool> {
        self.0[group] = column.value(row);
        Ok(column.is_valid(row))
    }

    fn copy(&mut self, group: usize, from: &Self, from_group: usize) -> Result<()> {
        self.0[group] = from.0[from_group];
        Ok(())
    }

    fn array(&self, range: Range<usize>, nulls: Option<NullBuffer>, _data_type: &DataType) -> ArrayRef {
        Arc::new(BooleanArray::new(self.0[range].iter().copied().collect(), nulls))
    }

    fn num_bytes(&self) -> usize {
        self.0.capacity()
    }
}

impl Values for GroupTexts {
    type Column = TextColumn;

    fn new(_data_type: &DataType) -> Self {
        GroupTexts::default()
    }

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        TextColumn::new(array)
    }

    fn resize(&mut self, num_groups: usize) {
        GroupTexts::resize(self, num_groups);
    }

    fn set(&mut self, group: usize, column: &Self::Column, row: usize) -> Result<bool> {
        match column.get(row) {
            Some(text) => GroupTexts::set(self, group, text).map(|()| true),
            None => Ok(false),
        }
    }

    fn copy(&mut self, group: usize, from: &Self, from_group: usize) -> Result<()> {
        from.get(from_group).map_or(Ok(()), |text| GroupTexts::set(self, group, text))
    }

    fn array(&self, range: Range<usize>, _nulls: Option<NullBuffer>, data_type: &DataType) -> ArrayRef {
        GroupTexts::array(self, range, data_type)
    }

    fn num_bytes(&self) -> usize {
        GroupTexts::num_bytes(self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Nothing,
    Null,
    Value,
}

/// `first(x)`
pub(crate) struct First<V> {
    data_type: DataType,
    values: V,
    met: Vec<Met>,
}

impl<V: Values> First<V> {
    /// Of `data_type`.
    pub(crate) fn new(data_type: DataType) -> Self {
        First { values: V::new(&data_type), data_type, met: Vec::new() }
    }
}

impl<V: Values> Accumulator for First<V> {
    fn resize(&mut self, num_groups: usize) {
        self.values.resize(num_groups);
        self.met.resize(num_groups, Met::Nothing);
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        let column = V::column(&arguments[0])?;
        for (row, group) in groups.ids().iter().enumerate() {
            let group = *group as usize;
            if self.met[group] == Met::Nothing {
                self.met[group] = if self.values.set(group, &column, row)? { Met::Value } else { Met::Null };
            }
        }
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            let (group, from_group) = (*group as usize, *from_group as usize);
            if self.met[group] == Met::Nothing {
                self.met[group] = from.met[from_group];
                self.values.copy(group, &from.values, from_group)?;
            }
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        let met = &self.met[range.clone()];
        let nulls = met.iter().any(|met| *met != Met::Value).then(|| met.iter().map(|met| *met == Met::Value).collect());
        Ok(self.values.array(range, nulls, &self.data_type))
    }

    fn num_bytes(&self) -> usize {
        self.values.num_bytes() + self.met.capacity()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Self::new(self.data_type.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
