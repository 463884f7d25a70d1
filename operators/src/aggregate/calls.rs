//! Which accumulators a list of aggregate calls needs, and how the results are made of them.
//!
//! Calls share: `avg(x)` is the sum and the count of `x`, `count(x)` is the rows less the NULLs of `x`, and
//! what two calls both need is accumulated once. With the sums and averages of TPC-H's Q1 that leaves five
//! sums and one count to be updated per row.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array},
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, Decimal64Type, Decimal128Type, Float64Type, Int64Type},
};

use super::{
    AggregateCall, AggregateFunction,
    accumulator::{self, Accumulator, Computation, Dispersion, plain_type},
};
use crate::{
    Error, Result,
    input::Inputs,
    types::{QUOTIENT_SCALE, decimal_digits},
};

/// One accumulator of a query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    computation: Computation,
    /// Positions among the evaluated inputs.
    pub(crate) arguments: Vec<usize>,
    types: Vec<DataType>,
    distinct: bool,
    /// Position of a Boolean input: only rows for which it is true count.
    pub(crate) filter: Option<usize>,
}

/// How a call's result is made of accumulators, named by position.
#[derive(Debug)]
enum Output {
    /// As it is.
    Is(usize),
    /// Rows less NULLs.
    Count { rows: usize, nulls: usize },
    /// Sum over rows less NULLs; of the type of the call.
    Average { sum: usize, rows: usize, nulls: Option<usize>, data_type: DataType },
}

/// The aggregates of a query.
#[derive(Debug)]
pub(crate) struct Calls {
    states: Vec<State>,
    outputs: Vec<Output>,
}

impl Calls {
    /// Accumulators for `calls`; what they read is added to `inputs`.
    ///
    /// # Errors
    /// [`Error::Internal`] for a call that the planner should not have built.
    pub(crate) fn new(calls: &[AggregateCall], inputs: &mut Inputs) -> Result<Self> {
        let mut this = Calls { states: Vec::new(), outputs: Vec::new() };
        for call in calls {
            let output = this.output(call, inputs)?;
            this.outputs.push(output);
        }
        Ok(this)
    }

    /// What every accumulator reads, in the order of [`Calls::accumulators`].
    pub(crate) fn states(&self) -> &[State] {
        &self.states
    }

    /// Accumulators without groups.
    ///
    /// # Errors
    /// As [`Calls::new`].
    pub(crate) fn accumulators(&self) -> Result<Vec<Box<dyn Accumulator>>> {
        self.states.iter().map(|state| accumulator::new(&state.computation, &state.types, state.distinct)).collect()
    }

    /// The results of groups `range`, one column per call.
    ///
    /// # Errors
    /// When a result does not fit its type.
    pub(crate) fn finish(&self, accumulators: &[Box<dyn Accumulator>], range: Range<usize>) -> Result<Vec<ArrayRef>> {
        let finish = |state: usize| accumulators[state].finish(range.clone());
        let counts = |rows: usize, nulls: Option<usize>| -> Result<Int64Array> {
            let rows = finish(rows)?.as_primitive::<Int64Type>().clone();
            let Some(nulls) = nulls else { return Ok(rows) };
            let nulls = finish(nulls)?;
            let nulls = nulls.as_primitive::<Int64Type>().values();
            Ok(rows.values().iter().zip(nulls).map(|(rows, nulls)| rows - nulls).collect::<Vec<_>>().into())
        };
        let column = |output: &Output| -> Result<ArrayRef> {
            Ok(match output {
                Output::Is(state) => finish(*state)?,
                Output::Count { rows, nulls } => Arc::new(counts(*rows, Some(*nulls))?),
                Output::Average { sum, rows, nulls, data_type } => average(&finish(*sum)?, &counts(*rows, *nulls)?, data_type)?,
            })
        };
        self.outputs.iter().map(column).collect()
    }

    fn output(&mut self, call: &AggregateCall, inputs: &mut Inputs) -> Result<Output> {
        use AggregateFunction::*;
        let filter = call.filter.as_ref().map(|filter| inputs.add(filter));
        let arguments: Vec<usize> = call.arguments.iter().map(|argument| inputs.add(argument)).collect();
        let types: Vec<DataType> = arguments.iter().map(|argument| plain_type(&inputs.data_type(*argument))).collect();
        // The rest do not change when a value comes twice.
        let distinct =
            call.distinct && matches!(call.function, Count | Sum | Average | StddevSamp | StddevPop | VarSamp | VarPop | StringAgg);
        let mut state = |computation: Computation, reads: bool| {
            let (arguments, types) = if reads { (arguments.clone(), types.clone()) } else { Default::default() };
            let state = State { computation, arguments, types, distinct: distinct && reads, filter };
            self.states.iter().position(|known| *known == state).unwrap_or_else(|| {
                self.states.push(state);
                self.states.len() - 1
            })
        };
        let argument = types.first();
        let spread = |of_sample, is_deviation| Computation::Spread(Dispersion { of_sample, is_deviation });
        Ok(match (call.function, argument) {
            (CountStar, _) => Output::Is(state(Computation::Rows, false)),
            (_, None) => return Err(Error::Internal(format!("{:?} without an argument", call.function))),
            (Count, _) if distinct => Output::Is(state(Computation::Rows, true)),
            (Count, _) => Output::Count { rows: state(Computation::Rows, false), nulls: state(Computation::Nulls, true) },
            (Sum, _) => Output::Is(state(Computation::Sum(call.data_type.clone()), true)),
            (Average, Some(argument)) => {
                let sum = state(Computation::Sum(sum_type(argument)?), true);
                let rows = state(Computation::Rows, distinct);
                let nulls = (!distinct).then(|| state(Computation::Nulls, true));
                Output::Average { sum, rows, nulls, data_type: call.data_type.clone() }
            }
            (Min, _) => Output::Is(state(Computation::Minimum, true)),
            (Max, _) => Output::Is(state(Computation::Maximum, true)),
            (First, _) => Output::Is(state(Computation::First, true)),
            (BoolAnd, _) => Output::Is(state(Computation::And, true)),
            (BoolOr, _) => Output::Is(state(Computation::Or, true)),
            (StddevSamp, _) => Output::Is(state(spread(true, true), true)),
            (StddevPop, _) => Output::Is(state(spread(false, true), true)),
            (VarSamp, _) => Output::Is(state(spread(true, false), true)),
            (VarPop, _) => Output::Is(state(spread(false, false), true)),
            (StringAgg, _) => Output::Is(state(Computation::StringAgg, true)),
        })
    }
}

/// The type of the sum within an average.
fn sum_type(argument: &DataType) -> Result<DataType> {
    Ok(match argument {
        DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::Int64 => DataType::Decimal128(38, 0),
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        other => {
            let (_, scale) = decimal_digits(other).ok_or_else(|| Error::Internal(format!("average of {other}")))?;
            DataType::Decimal128(38, scale)
        }
    })
}

/// `sums / counts`, NULL where there is nothing to count.
fn average(sums: &ArrayRef, counts: &Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    let valid: NullBuffer = counts.values().iter().map(|count| *count != 0).collect();
    let nulls = Some(valid).filter(|nulls| nulls.null_count() > 0);
    if let DataType::Float64 = sums.data_type() {
        let sums = sums.as_primitive::<Float64Type>().values();
        let averages = sums.iter().zip(counts.values()).map(|(sum, count)| if *count == 0 { 0.0 } else { sum / *count as f64 });
        let averages: ArrayRef = Arc::new(Float64Array::new(averages.collect(), nulls));
        return Ok(if *data_type == DataType::Float64 { averages } else { cast(&averages, data_type)? });
    }
    let (precision, scale) = decimal_digits(data_type).unwrap_or((38, QUOTIENT_SCALE));
    let (sums, sum_scale): (Vec<i128>, i8) = match sums.data_type() {
        DataType::Int64 => (sums.as_primitive::<Int64Type>().values().iter().map(|sum| i128::from(*sum)).collect(), 0),
        DataType::Decimal64(_, scale) => {
            (sums.as_primitive::<Decimal64Type>().values().iter().map(|sum| i128::from(*sum)).collect(), *scale)
        }
        DataType::Decimal128(_, scale) => (sums.as_primitive::<Decimal128Type>().values().to_vec(), *scale),
        other => return Err(Error::Internal(format!("average from sums of {other}"))),
    };
    let digits = i32::from(scale) - i32::from(sum_scale);
    let quotient = |(sum, count): (&i128, &i64)| if *count == 0 { Ok(0) } else { divide(*sum, i128::from(*count), digits) };
    let averages = sums.iter().zip(counts.values()).map(quotient).collect::<Result<Vec<_>>>()?;
    let averages: ArrayRef = Arc::new(Decimal128Array::new(averages.into(), nulls).with_precision_and_scale(precision.max(19), scale)?);
    Ok(if *averages.data_type() == *data_type { averages } else { cast(&averages, data_type)? })
}

/// `sum * 10^digits / count`, rounded half away from zero.
fn divide(sum: i128, count: i128, digits: i32) -> Result<i128> {
    let power = 10_i128.checked_pow(digits.unsigned_abs()).ok_or(Error::NumericOverflow)?;
    if digits < 0 {
        let divisor = count.checked_mul(power).ok_or(Error::NumericOverflow)?;
        return Ok(sum / divisor + rounding(sum % divisor, divisor));
    }
    // In two steps, for `sum * power` may be too long: the remainder is less than the count, below 2^63.
    let whole = (sum / count).checked_mul(power).ok_or(Error::NumericOverflow)?;
    let rest = (sum % count).checked_mul(power).ok_or(Error::NumericOverflow)?;
    let average = whole.checked_add(rest / count + rounding(rest % count, count)).ok_or(Error::NumericOverflow)?;
    if average.unsigned_abs() < 10_u128.pow(38) { Ok(average) } else { Err(Error::NumericOverflow) }
}

/// What rounding adds to a quotient with this remainder.
fn rounding(remainder: i128, divisor: i128) -> i128 {
    // Compared with the rest, for twice the remainder may be too long.
    if remainder.abs() >= divisor - remainder.abs() { remainder.signum() } else { 0 }
}
