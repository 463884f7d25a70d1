//! Smallest and largest values of fixed-width types.
//!
//! Position: strings are in `extreme_text`, Booleans in `boolean`.

use std::{any::Any, fmt, marker::PhantomData, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    datatypes::{DataType, IntervalMonthDayNano},
};

use super::{Accumulator, GroupIds, Seen, downcast};
use crate::Result;

/// A type with SQL's order.
pub(crate) trait Ordered: Copy + Send + Sync + fmt::Debug + 'static {
    /// No value is before it.
    const FIRST: Self;
    /// No value is after it.
    const LAST: Self;
    /// Whether `self` is before `other`.
    fn is_before(self, other: Self) -> bool;
}

macro_rules! ordered_integers {
    ($($integer:ty),*) => {$(
        impl Ordered for $integer {
            const FIRST: Self = <$integer>::MIN;
            const LAST: Self = <$integer>::MAX;
            fn is_before(self, other: Self) -> bool {
                self < other
            }
        }
    )*};
}
ordered_integers!(i16, i32, i64, i128);

macro_rules! ordered_floats {
    ($($float:ty),*) => {$(
        impl Ordered for $float {
            const FIRST: Self = <$float>::NEG_INFINITY;
            // NaN equals itself and is after every other number.
            const LAST: Self = <$float>::NAN;
            fn is_before(self, other: Self) -> bool {
                self < other || (other.is_nan() && !self.is_nan())
            }
        }
    )*};
}
ordered_floats!(f32, f64);

impl Ordered for IntervalMonthDayNano {
    const FIRST: Self = IntervalMonthDayNano::MIN;
    const LAST: Self = IntervalMonthDayNano::MAX;
    fn is_before(self, other: Self) -> bool {
        interval_nanoseconds(self) < interval_nanoseconds(other)
    }
}

/// An interval's length as comparisons see it: a month is 30 days, a day 24 hours.
pub(crate) fn interval_nanoseconds(interval: IntervalMonthDayNano) -> i128 {
    const DAY: i128 = 86_400_000_000_000;
    (i128::from(interval.months) * 30 + i128::from(interval.days)) * DAY + i128::from(interval.nanoseconds)
}

/// Which end of the order is kept.
pub(crate) trait End: Send + Sync + 'static {
    /// What every value replaces.
    fn worst<T: Ordered>() -> T;
    /// Whether `value` replaces `kept`.
    fn replaces<T: Ordered>(value: T, kept: T) -> bool;
    /// Whether a comparison of `value` with `kept` that came out so makes `value` replace it.
    fn prefers(value_to_kept: std::cmp::Ordering) -> bool;
}

/// `min(x)`
#[derive(Debug)]
pub(crate) struct Smallest;

impl End for Smallest {
    fn worst<T: Ordered>() -> T {
        T::LAST
    }
    fn replaces<T: Ordered>(value: T, kept: T) -> bool {
        value.is_before(kept)
    }
    fn prefers(value_to_kept: std::cmp::Ordering) -> bool {
        value_to_kept.is_lt()
    }
}

/// `max(x)`
#[derive(Debug)]
pub(crate) struct Largest;

impl End for Largest {
    fn worst<T: Ordered>() -> T {
        T::FIRST
    }
    fn replaces<T: Ordered>(value: T, kept: T) -> bool {
        kept.is_before(value)
    }
    fn prefers(value_to_kept: std::cmp::Ordering) -> bool {
        value_to_kept.is_gt()
    }
}

/// `min(x)` or `max(x)` of a fixed-width type.
pub(crate) struct Extreme<T: ArrowPrimitiveType, E> {
    data_type: DataType,
    values: Vec<T::Native>,
    seen: Seen,
    end: PhantomData<E>,
}

impl<T: ArrowPrimitiveType, E> Extreme<T, E> {
    /// Of `data_type`, whose native type is `T`'s.
    pub(crate) fn new(data_type: DataType) -> Self {
        Extreme { data_type, values: Vec::new(), seen: Seen::default(), end: PhantomData }
    }
}

impl<T: ArrowPrimitiveType, E: End> Accumulator for Extreme<T, E>
where
    T::Native: Ordered,
{
    fn resize(&mut self, num_groups: usize) {
        self.values.resize(num_groups, E::worst());
        self.seen.resize(num_groups);
    }

    fn update(&mut self, groups: &GroupIds<'_>, arguments: &[ArrayRef]) -> Result<()> {
        let array = arguments[0].as_primitive::<T>();
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.seen.update(groups, nulls);
        let mut row = |group: u32, value: T::Native| {
            let kept = &mut self.values[group as usize];
            if E::replaces(value, *kept) {
                *kept = value;
            }
        };
        match nulls {
            None => groups.ids().iter().zip(array.values()).for_each(|(group, value)| row(*group, *value)),
            Some(nulls) => nulls.valid_indices().for_each(|index| row(groups.ids()[index], array.values()[index])),
        }
        Ok(())
    }

    fn merge(&mut self, groups: &GroupIds<'_>, from: &dyn Accumulator, from_groups: &[u32]) -> Result<()> {
        let from = downcast::<Self>(from)?;
        self.seen.merge(groups, &from.seen, from_groups);
        for (group, from_group) in groups.ids().iter().zip(from_groups) {
            let (kept, value) = (&mut self.values[*group as usize], from.values[*from_group as usize]);
            if E::replaces(value, *kept) {
                *kept = value;
            }
        }
        Ok(())
    }

    fn finish(&self, range: Range<usize>) -> Result<ArrayRef> {
        let nulls = self.seen.nulls(range.clone());
        let array = PrimitiveArray::<T>::new(self.values[range].to_vec().into(), nulls);
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }

    fn num_bytes(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.seen.num_bytes()
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Self::new(self.data_type.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
