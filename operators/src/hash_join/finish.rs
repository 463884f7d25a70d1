//! Makes the build side of the gathered segments: chooses the structure, then fills it, copies columns
//! together and makes runtime filters, each a task that may run beside the others.
//!
//! Position: between the sink's last push and the probe. Segments are first put in the order of their codes:
//! where scans read a clustered table in parallel, that restores the order in which rank and row are the
//! same, and everywhere it keeps neighbouring keys near each other.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicBool};

use arrow::array::{Array, ArrayRef, NullArray};
use pipelines::Reservation;

use super::{
    Join, JoinKind,
    build::{Gathered, Segment},
    gather,
    keys::{self, Codes, KeyColumn, KeyForm, KeyRange, KeyType},
    marks::Marks,
    side::BuildSide,
    table::{self, BuildCodes, CodePiece, Structure, TableBuild, slots::Slots64},
};
use crate::{
    Error, Result,
    runtime_filter::{BlockedBloom, Members, RuntimeFilter},
};

/// Rows that make a part of the table's filling worth a thread.
const PART_ROWS: usize = if cfg!(test) { 2 } else { 1 << 16 };
/// The widest bitmap of a runtime filter, in bits (16 MiB).
const FILTER_BITS_MAX: u128 = 1 << 27;
/// The widest bitmap of a runtime filter for few rows, in bits a row.
const FILTER_BITS_PER_ROW: u128 = 512;
/// A bloom filter of more keys (16 MiB) misses the cache on every test.
const BLOOM_KEYS_MAX: usize = 1 << 23;

/// The build side in the making.
pub(super) struct Finishing {
    segments: Vec<Segment>,
    num_rows: usize,
    form: KeyForm,
    codes: BuildCodes,
    table: TableBuild,
    tasks: Vec<Task>,
    columns: Vec<Mutex<Column>>,
    keys: Vec<Mutex<Option<KeyColumn>>>,
    filters: Vec<Mutex<Members>>,
    reservation: Option<Reservation>,
}

/// A kept column: its pieces are given up as soon as they are copied together.
enum Column {
    Pieces(Vec<ArrayRef>),
    Whole(ArrayRef),
}

enum Task {
    Table(usize),
    Column(usize),
    Key(usize),
    Filter(usize),
}

impl Finishing {
    /// Decides what there is to do.
    pub(super) fn new(join: &Join, gathered: Gathered) -> pipelines::Result<Self> {
        let Gathered { mut segments, mut reservation, num_chains } = gathered;
        let num_rows: usize = segments.iter().map(|segment| segment.num_rows).sum();
        if num_rows >= (u32::MAX - 1) as usize {
            return Err(Error::Internal(format!("a join's build side of {num_rows} rows is too large")).into());
        }
        let ranges = key_ranges(join, &segments);
        let form = choose_form(join, &ranges);
        let codes = order_by_code(join, &form, &mut segments);
        let integers = matches!(form, KeyForm::Plain | KeyForm::Packed(_));
        let structure = choose_structure(join, &form, &codes, integers);
        let num_parts = 1 << (codes.num_valid / PART_ROWS).clamp(1, num_chains.max(1)).ilog2();
        if let Some(reservation) = &mut reservation {
            // Pieces and copy exist side by side for as many columns as there are threads.
            let gathered: usize = segments.iter().map(|segment| segment.num_bytes).sum();
            let copied = gathered * num_chains.min(join.stored.len()) / join.stored.len().max(1);
            reservation.grow(copied + TableBuild::num_bytes(structure, &codes, num_rows))?;
        }
        let table = TableBuild::new(structure, &codes, num_rows, num_parts);

        let keeps_keys = form == KeyForm::Hashed || join.has_exact_marks();
        let mut tasks: Vec<Task> = (0..num_parts).map(Task::Table).collect();
        tasks.extend((0..join.stored.len()).map(Task::Column));
        tasks.extend((0..join.spec.keys.len()).filter(|_| keeps_keys).map(Task::Key));
        let shares_bitmap = form == KeyForm::Plain && matches!(structure, Structure::Rank | Structure::Membership | Structure::Dense);
        tasks.extend((0..join.spec.keys.len()).filter(|key| !shares_bitmap && join.filter_slot(*key).is_some()).map(Task::Filter));
        Ok(Finishing {
            columns: (0..join.stored.len()).map(|place| Mutex::new(Column::Pieces(pieces(&mut segments, place)))).collect(),
            keys: join.spec.keys.iter().filter(|_| keeps_keys).map(|_| Mutex::default()).collect(),
            filters: join.spec.keys.iter().map(|_| Mutex::new(Members::Unknown)).collect(),
            segments,
            num_rows,
            form,
            codes,
            table,
            tasks,
            reservation,
        })
    }

    /// How many tasks may run in parallel.
    pub(super) fn num_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Does one of them.
    pub(super) fn run(&self, join: &Join, task: usize) -> Result<()> {
        match self.tasks[task] {
            Task::Table(part) => self.table.fill(&self.codes, part),
            Task::Column(column) => {
                let mut place = self.columns[column].lock().unwrap_or_else(PoisonError::into_inner);
                if let Column::Pieces(pieces) = &*place {
                    *place = Column::Whole(gather::concat_compact(pieces, &join.spec.build_types[join.stored[column]])?);
                }
            }
            Task::Key(key) => {
                let columns: Vec<&KeyColumn> = self.segments.iter().map(|segment| &segment.keys[key]).collect();
                put(&self.keys[key], Some(KeyColumn::concat(&columns, self.num_rows)?));
            }
            Task::Filter(key) => put(&self.filters[key], self.members(key)),
        }
        Ok(())
    }

    /// Puts the results together and publishes the runtime filters.
    pub(super) fn finish(self, join: &Join) -> pipelines::Result<BuildSide> {
        let missing = || Error::Internal("a hash join's build side is incomplete".into());
        let columns = self.columns.into_iter().map(|column| match column.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Column::Whole(array) => Ok(array),
            Column::Pieces(_) => Err(missing()),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let keys = self.keys.into_iter().map(|key| take(key).ok_or_else(missing)).collect::<Result<Vec<_>>>()?;
        let table = self.table.finish();
        let structure = table.structure();
        let table_bytes = TableBuild::num_bytes(structure, &self.codes, self.num_rows);

        let mut ranges = key_ranges(join, &self.segments).into_iter();
        for (key, members) in self.filters.into_iter().enumerate() {
            let range = ranges.next().unwrap_or(KeyRange::EMPTY);
            let Some(slot) = join.spec.runtime_filters.get(key).and_then(Option::as_ref) else { continue };
            let has_matching_nulls =
                join.spec.keys[key].nulls_match && self.segments.iter().any(|segment| segment.keys[key].nulls.is_some());
            if join.filter_slot(key).is_none() || has_matching_nulls {
                slot.publish(None);
                continue;
            }
            let shared = if self.form == KeyForm::Plain { table.bitmap() } else { None };
            let members = shared.map_or_else(|| members.into_inner().unwrap_or_else(PoisonError::into_inner), Members::Bitmap);
            slot.publish(Some(RuntimeFilter { min: range.min, max: range.max, members }));
        }

        let null_key_rows = if join.is_mark() { null_rows(&self.codes) } else { Vec::new() };
        let marks = |wanted: bool| wanted.then(|| Marks::new(self.num_rows));
        let matched = marks(join.spec.kind.emits_build_side());
        let unknown = marks(join.spec.kind == JoinKind::BuildMark);
        let num_bytes = columns.iter().map(|column| column.get_buffer_memory_size()).sum::<usize>()
            + keys.iter().map(KeyColumn::num_bytes).sum::<usize>()
            + matched.iter().chain(&unknown).map(Marks::num_bytes).sum::<usize>()
            + table_bytes;
        let (num_valid, num_rows) = (self.codes.num_valid, self.num_rows);
        drop((self.segments, self.codes));
        let mut reservation = self.reservation;
        if let Some(reservation) = &mut reservation {
            reservation.resize(num_bytes)?;
        }
        Ok(BuildSide {
            num_rows,
            has_matchable_rows: num_valid > 0 || structure == Structure::Every && num_rows > 0,
            columns,
            table,
            form: self.form,
            keys,
            null_key_rows,
            matched,
            unknown,
            saw_probe_row: AtomicBool::new(false),
            saw_null_probe_key: AtomicBool::new(false),
            num_bytes,
            _reservation: reservation,
        })
    }

    // Which values of one key there are, as far as it pays to know.
    fn members(&self, key: usize) -> Members {
        let range = self.segments.iter().fold(KeyRange::EMPTY, |range, segment| range.union(segment.ranges[key]));
        let (span, num_rows) = (range.span(), self.num_rows);
        if span == 0 {
            Members::Unknown
        } else if span <= FILTER_BITS_MAX && span <= (FILTER_BITS_PER_ROW * num_rows as u128).max(1 << 16) {
            let words = Slots64::zeroed(span.div_ceil(64) as usize);
            self.for_each_key(key, |value| {
                let bit = value.wrapping_sub(range.min) as u64;
                let word = (bit >> 6) as usize;
                words.set(word, words.get(word) | 1 << (bit & 63));
            });
            Members::Bitmap(words.into_words().into())
        } else if num_rows <= BLOOM_KEYS_MAX {
            let mut bloom = BlockedBloom::with_capacity(num_rows);
            self.for_each_key(key, |value| bloom.insert(value));
            Members::Bloom(bloom)
        } else {
            Members::Unknown
        }
    }

    fn for_each_key(&self, key: usize, mut visit: impl FnMut(i64)) {
        for column in self.segments.iter().map(|segment| &segment.keys[key]) {
            match &column.nulls {
                None => column.words().iter().for_each(|value| visit(*value)),
                Some(nulls) => nulls.valid_indices().for_each(|row| visit(column.words()[row])),
            }
        }
    }
}

// Takes a kept column out of all segments.
fn pieces(segments: &mut [Segment], place: usize) -> Vec<ArrayRef> {
    let empty: ArrayRef = Arc::new(NullArray::new(0));
    segments.iter_mut().map(|segment| std::mem::replace(&mut segment.columns[place], Arc::clone(&empty))).collect()
}

fn put<T>(place: &Mutex<T>, value: T) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

fn take<T>(place: Mutex<Option<T>>) -> Option<T> {
    place.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn key_ranges(join: &Join, segments: &[Segment]) -> Vec<KeyRange> {
    (0..join.spec.keys.len()).map(|key| segments.iter().fold(KeyRange::EMPTY, |range, segment| range.union(segment.ranges[key]))).collect()
}

fn choose_form(join: &Join, ranges: &[KeyRange]) -> KeyForm {
    let spec = &join.spec;
    if spec.keys.is_empty() {
        KeyForm::None
    } else if join.key_types.iter().any(|key_type| *key_type != KeyType::Word) {
        KeyForm::Hashed
    } else if spec.keys.len() == 1 && !spec.keys[0].nulls_match {
        KeyForm::Plain
    } else {
        keys::pack(&spec.keys, ranges).map_or(KeyForm::Hashed, KeyForm::Packed)
    }
}

fn choose_structure(join: &Join, form: &KeyForm, codes: &BuildCodes, integers: bool) -> Structure {
    if *form == KeyForm::None {
        return Structure::Every;
    }
    let membership = join.asks_only_membership();
    #[cfg(test)]
    if let Some(forced) = join.forced_structure
        && table::is_possible(forced, codes, integers, membership)
    {
        return forced;
    }
    table::choose(codes, integers, membership)
}

/// Makes the codes and brings the segments into their order.
fn order_by_code(join: &Join, form: &KeyForm, segments: &mut Vec<Segment>) -> BuildCodes {
    let integers = matches!(form, KeyForm::Plain | KeyForm::Packed(_));
    let mut coded: Vec<(Segment, Codes, KeyRange)> = std::mem::take(segments)
        .into_iter()
        .map(|mut segment| {
            let codes = segment.hashes.take().unwrap_or_else(|| form.codes(&join.spec.keys, &segment.keys, segment.num_rows));
            let range = match form {
                KeyForm::Plain => segment.ranges[0],
                KeyForm::Packed(_) => KeyRange::of(&codes.values, codes.nulls.as_ref()),
                _ => KeyRange { min: i64::MIN, max: i64::MAX },
            };
            (segment, codes, range)
        })
        .collect();
    if integers {
        coded.sort_by_key(|(_, _, range)| range.min);
    }
    let mut all =
        BuildCodes { pieces: Vec::with_capacity(coded.len()), num_valid: 0, min: i64::MAX, max: i64::MIN, strictly_ascending: integers };
    let mut first_row = 0;
    for (segment, codes, range) in coded {
        all.num_valid += segment.num_rows - codes.nulls.as_ref().map_or(0, |nulls| nulls.null_count());
        all.strictly_ascending &=
            codes.nulls.is_none() && (all.pieces.is_empty() || range.min > all.max) && codes.values.is_sorted_by(|a, b| a < b);
        all.min = all.min.min(range.min);
        all.max = all.max.max(range.max);
        all.pieces.push(CodePiece { first_row, codes: codes.values, nulls: codes.nulls, min: range.min, max: range.max });
        first_row += segment.num_rows as u32;
        segments.push(segment);
    }
    all
}

fn null_rows(codes: &BuildCodes) -> Vec<u32> {
    let of_piece = |piece: &CodePiece| {
        let first_row = piece.first_row;
        let nulls = piece.nulls.clone();
        (0..piece.codes.len())
            .filter(move |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row)))
            .map(move |row| first_row + row as u32)
    };
    codes.pieces.iter().flat_map(of_piece).collect()
}
