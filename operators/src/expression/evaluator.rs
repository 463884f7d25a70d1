//! Evaluates expressions over batches.
//!
//! Common subexpressions are computed once per batch. A subexpression whose only column is a text that
//! arrives as a dictionary is computed once per dictionary: the first batches are computed row by row until
//! as many rows have passed as the dictionary has entries (so that a large dictionary under few rows costs
//! nothing), then every entry once; consecutive batches of the same row group reuse the result.
//!
//! Rows are computed with that nobody asked for (a branch of a CASE for rows of another branch, dictionary
//! entries that occur in no row) where this is cheaper; if that raises an error, the rows that were asked
//! for are computed alone, so that only their errors are seen.

use std::cell::RefCell;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray},
    buffer::BooleanBuffer,
    compute::{FilterBuilder, FilterPredicate},
};
use pipelines::Batch;

use super::{
    Comparison, Expression, ScalarFunction, arithmetic, bits, boolean, case, cast, compare,
    datum::Datum,
    dictionary::Lifted,
    functions, like,
    program::{NodeId, Operation, Program},
};
use crate::{Error, Result, Scalar};

/// Computes columns from batches; one per chain.
#[derive(Debug)]
pub struct Evaluator {
    program: Program,
    roots: Vec<NodeId>,
    state: State,
}

impl Evaluator {
    /// Compiles `expressions`.
    pub fn new(expressions: Vec<Expression>) -> Self {
        let mut program = Program::default();
        let roots = expressions.iter().map(|e| program.add(e)).collect();
        let state = State::new(&program);
        Evaluator { program, roots, state }
    }

    /// One column per expression, as long as the batch. Texts may come as dictionaries.
    ///
    /// # Errors
    /// Those of PostgreSQL for the values of the rows.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<Vec<ArrayRef>> {
        let frame = Frame::of_batch(&self.program, batch);
        let (program, state) = (&self.program, &mut self.state);
        self.roots.iter().map(|&root| Ok(evaluate(program, state, root, &frame)?.into_array(batch.num_rows()))).collect()
    }
}

/// The value of an expression without columns.
///
/// # Errors
/// Those of its evaluation; [`Error::Internal`] if it has columns.
pub fn evaluate_constant(expression: &Expression) -> Result<Scalar> {
    if !expression.is_constant() {
        return Err(Error::Internal(format!("{expression} is not constant")));
    }
    let mut program = Program::default();
    let root = program.add(expression);
    evaluate_node_once(&program, root)
}

/// The value of a node without columns.
pub(super) fn evaluate_node_once(program: &Program, id: NodeId) -> Result<Scalar> {
    let batch = Batch::new(Vec::new(), 1);
    let frame = Frame::of_batch(program, &batch);
    match evaluate(program, &mut State::new(program), id, &frame)? {
        Datum::Scalar(scalar) => Ok(scalar),
        Datum::Array(array) => Scalar::from_array(&array, 0),
    }
}

/// What is kept between batches: per node what it is for each entry of the last dictionary.
#[derive(Debug)]
pub(super) struct State {
    lifted: Vec<Option<Lifted>>,
}

impl State {
    pub(super) fn new(program: &Program) -> Self {
        State { lifted: program.nodes.iter().map(|_| None).collect() }
    }
}

/// The rows that are computed with, and what is known of them already.
pub(super) struct Frame<'a> {
    rows: RowSource<'a>,
    num_rows: usize,
    known: RefCell<Vec<Option<Datum>>>,
}

enum RowSource<'a> {
    Batch(&'a Batch),
    /// Column `0` alone: the entries of its dictionary.
    Entries(usize, &'a ArrayRef),
    /// Some rows of another frame.
    Subset(&'a Frame<'a>, FilterPredicate),
}

impl<'a> Frame<'a> {
    pub(super) fn of_batch(program: &Program, batch: &'a Batch) -> Self {
        Frame::new(program, RowSource::Batch(batch), batch.num_rows())
    }

    /// The entries of a dictionary as values of `column`.
    pub(super) fn of_entries(program: &Program, column: usize, entries: &'a ArrayRef) -> Self {
        Frame::new(program, RowSource::Entries(column, entries), entries.len())
    }

    /// The rows of `frame` that are `selected`.
    pub(super) fn subset(program: &Program, frame: &'a Frame<'a>, selected: &BooleanBuffer) -> Self {
        let num_rows = selected.count_set_bits();
        let filter = FilterBuilder::new(&BooleanArray::new(selected.clone(), None)).optimize().build();
        Frame::new(program, RowSource::Subset(frame, filter), num_rows)
    }

    fn new(program: &Program, rows: RowSource<'a>, num_rows: usize) -> Self {
        Frame { rows, num_rows, known: RefCell::new(vec![None; program.nodes.len()]) }
    }

    pub(super) fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn column(&self, node: NodeId, index: usize) -> Result<ArrayRef> {
        match &self.rows {
            RowSource::Batch(batch) => {
                let column = batch.columns().get(index);
                column.cloned().ok_or_else(|| Error::Internal(format!("the batch has no column {index}")))
            }
            RowSource::Entries(column, entries) if *column == index => Ok((*entries).clone()),
            RowSource::Entries(..) => Err(Error::Internal("a dictionary has one column".into())),
            RowSource::Subset(whole, filter) => {
                if let Some(Datum::Array(known)) = &self.known.borrow()[node] {
                    return Ok(known.clone());
                }
                let column = filter.filter(whole.column(node, index)?.as_ref())?;
                self.remember(node, &Datum::Array(column.clone()));
                Ok(column)
            }
        }
    }

    fn recall(&self, node: NodeId) -> Result<Option<Datum>> {
        if let Some(known) = &self.known.borrow()[node] {
            return Ok(Some(known.clone()));
        }
        let RowSource::Subset(whole, filter) = &self.rows else { return Ok(None) };
        let selected = match whole.recall(node)? {
            None => return Ok(None),
            Some(Datum::Array(array)) => Datum::Array(filter.filter(array.as_ref())?),
            Some(scalar) => scalar,
        };
        self.remember(node, &selected);
        Ok(Some(selected))
    }

    fn remember(&self, node: NodeId, datum: &Datum) {
        self.known.borrow_mut()[node] = Some(datum.clone());
    }

    /// Keeps what another node will ask for.
    fn remember_shared(&self, program: &Program, node: NodeId, datum: &Datum) {
        if program.nodes[node].shared {
            self.remember(node, datum);
        }
    }
}

/// What is left to do for a value.
enum Step {
    /// Push the value of this node.
    Evaluate(NodeId),
    /// Replace the values of this node's inputs by its own.
    Apply(NodeId),
}

/// The value of a node for the rows of `frame`. Inputs wait on a stack of its own, so that a chain of a
/// thousand additions needs no more of the thread's; only AND, OR, CASE and COALESCE recurse.
pub(super) fn evaluate(program: &Program, state: &mut State, id: NodeId, frame: &Frame<'_>) -> Result<Datum> {
    let mut steps = vec![Step::Evaluate(id)];
    let mut values: Vec<Datum> = Vec::new();
    while let Some(step) = steps.pop() {
        match step {
            Step::Apply(id) => {
                let num_inputs = program.nodes[id].operation.num_inputs();
                let inputs = values.split_off(values.len() - num_inputs);
                let value = apply(program, id, inputs, frame.num_rows)?;
                frame.remember_shared(program, id, &value);
                values.push(value);
            }
            Step::Evaluate(id) => match at_once(program, state, id, frame)? {
                Some(value) => values.push(value),
                None => {
                    steps.push(Step::Apply(id));
                    let first = steps.len();
                    program.nodes[id].operation.for_each_input(|input| steps.push(Step::Evaluate(input)));
                    steps[first..].reverse();
                }
            },
        }
    }
    values.pop().ok_or_else(|| Error::Internal("an expression without a value".into()))
}

/// The value of a node that does not have to wait for its inputs.
fn at_once(program: &Program, state: &mut State, id: NodeId, frame: &Frame<'_>) -> Result<Option<Datum>> {
    let node = &program.nodes[id];
    match &node.operation {
        Operation::Constant(scalar) => return Ok(Some(Datum::Scalar(scalar.clone()))),
        Operation::Column(index) => return frame.column(id, *index).map(|column| Some(Datum::Array(column))),
        _ => {}
    }
    if let Some(known) = frame.recall(id)? {
        return Ok(Some(known));
    }
    let through_dictionary = match node.text_column {
        Some(column) => by_entries(program, state, id, column, frame)?,
        None => None,
    };
    let value = match through_dictionary {
        Some(value) => Some(value),
        None => lazily(program, state, id, frame)?,
    };
    if let Some(value) = &value {
        frame.remember_shared(program, id, value);
    }
    Ok(value)
}

/// The value of a node through the dictionary of its one column, unless it is none or too large for so few rows.
fn by_entries(program: &Program, state: &mut State, id: NodeId, column: NodeId, frame: &Frame<'_>) -> Result<Option<Datum>> {
    let Operation::Column(index) = program.nodes[column].operation else { return Ok(None) };
    if matches!(frame.rows, RowSource::Entries(..)) {
        return Ok(None);
    }
    let array = frame.column(column, index)?;
    if array.as_any_dictionary_opt().is_none() {
        return Ok(None);
    }
    let mut lifted = Lifted::for_dictionary(state.lifted[id].take(), &array)?;
    let result = if lifted.wants_entries(array.len()) {
        let entries = lifted.entries()?;
        let value = evaluate(program, state, id, &Frame::of_entries(program, index, &entries));
        lifted.set(value)
    } else {
        Ok(())
    };
    let value = result.and_then(|()| lifted.value_of_rows(&array));
    state.lifted[id] = Some(lifted);
    value
}

/// The value of an operation that itself decides which inputs it looks at; `None` for all others.
fn lazily(program: &Program, state: &mut State, id: NodeId, frame: &Frame<'_>) -> Result<Option<Datum>> {
    let node = &program.nodes[id];
    match &node.operation {
        Operation::And(inputs) => connect(program, state, Connective::And, inputs, frame),
        Operation::Or(inputs) => connect(program, state, Connective::Or, inputs, frame),
        Operation::Case(branches, otherwise) => case::evaluate_case(program, state, branches, *otherwise, &node.data_type, frame),
        Operation::Function(ScalarFunction::Coalesce, inputs) => {
            functions::evaluate_coalesce(program, state, inputs, &node.data_type, frame)
        }
        _ => return Ok(None),
    }
    .map(Some)
}

/// Applies a node's operation to the values of its inputs.
fn apply(program: &Program, id: NodeId, mut inputs: Vec<Datum>, num_rows: usize) -> Result<Datum> {
    let node = &program.nodes[id];
    if is_strict(&node.operation) && inputs.iter().any(Datum::is_null_scalar) {
        return Ok(Datum::Scalar(Scalar::Null(node.data_type.clone())));
    }
    if inputs.iter().all(|input| matches!(input, Datum::Scalar(_))) {
        for input in &mut inputs {
            *input = Datum::Array(std::mem::replace(input, Datum::Scalar(Scalar::Boolean(false))).into_array(1));
        }
        let value = apply_to_rows(program, id, &inputs, 1)?;
        return Scalar::from_array(&value, 0).map(Datum::Scalar);
    }
    apply_to_rows(program, id, &inputs, num_rows).map(Datum::Array)
}

/// Whether a NULL input makes the result NULL.
fn is_strict(operation: &Operation) -> bool {
    match operation {
        Operation::Compare(operator, ..) => !matches!(operator, Comparison::Distinct | Comparison::NotDistinct),
        Operation::IsNull(_) => false,
        Operation::Function(function, _) => functions::is_strict(*function),
        _ => true,
    }
}

fn apply_to_rows(program: &Program, id: NodeId, inputs: &[Datum], num_rows: usize) -> Result<ArrayRef> {
    let node = &program.nodes[id];
    let boolean = |array: BooleanArray| -> ArrayRef { std::sync::Arc::new(array) };
    let array_of = |input: &Datum| input.clone().into_array(num_rows);
    match &node.operation {
        Operation::Compare(operator, ..) => compare::compare(*operator, &inputs[0], &inputs[1], num_rows).map(boolean),
        Operation::Not(_) => Ok(boolean(boolean::not(&inputs[0].clone().into_booleans(num_rows)?))),
        Operation::IsNull(_) => Ok(boolean(is_null(&array_of(&inputs[0])))),
        Operation::Arithmetic(operator, ..) => arithmetic::arithmetic(*operator, &inputs[0], &inputs[1], &node.data_type, num_rows),
        Operation::Negate(_) => arithmetic::negate(&inputs[0], num_rows),
        Operation::Cast(_) => cast::cast(&array_of(&inputs[0]), &node.data_type),
        Operation::Like(_, _, options, matcher) => match matcher {
            Some(matcher) => like::matches(matcher.as_ref().map_err(Error::clone)?, &array_of(&inputs[0])).map(boolean),
            None => like::matches_patterns(&inputs[0], &inputs[1], *options, num_rows).map(boolean),
        },
        Operation::InList(_, set) => set.contains(&array_of(&inputs[0])).map(boolean),
        Operation::Function(function, _) => functions::apply(*function, inputs, &node.data_type, num_rows),
        Operation::Column(_) | Operation::Constant(_) | Operation::And(_) | Operation::Or(_) | Operation::Case(..) => {
            Err(Error::Internal("no operation over inputs".into()))
        }
    }
}

fn is_null(array: &ArrayRef) -> BooleanArray {
    match array.logical_nulls() {
        Some(nulls) => BooleanArray::new(!nulls.inner(), None),
        None => BooleanArray::new(BooleanBuffer::new_unset(array.len()), None),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Connective {
    And,
    Or,
}

/// An operand is computed for the undecided rows only where they are fewer than one in this many.
pub(super) const SUBSET_FRACTION: usize = 4;

/// AND and OR. Operands after the first are computed for the rows they can still decide, where these are few
/// or where the operand fails for another.
fn connect(program: &Program, state: &mut State, connective: Connective, inputs: &[NodeId], frame: &Frame<'_>) -> Result<Datum> {
    let num_rows = frame.num_rows;
    let mut result: Option<BooleanArray> = None;
    for &input in inputs {
        let Some(so_far) = result else {
            result = Some(evaluate(program, state, input, frame)?.into_booleans(num_rows)?);
            continue;
        };
        let undecided = undecided(connective, &so_far);
        let num_undecided = undecided.count_set_bits();
        if num_undecided == 0 {
            result = Some(so_far);
            break;
        }
        let few = num_undecided * SUBSET_FRACTION < num_rows || (program.nodes[input].can_fail && num_undecided < num_rows);
        let whole = if few { None } else { evaluate(program, state, input, frame).ok() };
        let operand = match whole {
            Some(operand) => operand.into_booleans(num_rows)?,
            None => {
                let subset = Frame::subset(program, frame, &undecided);
                let part = evaluate(program, state, input, &subset)?.into_booleans(num_undecided)?;
                bits::spread(&undecided, &part, connective == Connective::And)
            }
        };
        result = Some(match connective {
            Connective::And => boolean::and(&so_far, &operand)?,
            Connective::Or => boolean::or(&so_far, &operand)?,
        });
    }
    result.map(|array| Datum::Array(std::sync::Arc::new(array))).ok_or_else(|| Error::Internal("AND or OR of nothing".into()))
}

fn undecided(connective: Connective, so_far: &BooleanArray) -> BooleanBuffer {
    match connective {
        Connective::And => match so_far.nulls() {
            Some(nulls) => so_far.values() | &!nulls.inner(),
            None => so_far.values().clone(),
        },
        Connective::Or => !&bits::true_rows(so_far),
    }
}
