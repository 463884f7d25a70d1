//! What a scan is going to do: which columns, which filters in which form, which pieces of which files.
//!
//! Position: made once per scan from a [`ScanRequest`], shared by its chains, immutable. Conjuncts over one column become filters on
//! that column; what is left over is tested on rows. Row groups that cannot pass are dropped here, as are those that the part of the
//! table that is asked for has no row in.

use std::{collections::BTreeMap, fs::File, ops::Range, sync::Arc};

use operators::{Expression, runtime_filter::RuntimeFilterSlot};

use super::{
    bounds,
    footer::Footer,
    part::{PartRowGroup, part_row_groups},
    prune::{self, ColumnFacts},
    schema::{Column, Reading},
};
use crate::{
    connectors::{ScanPart, ScanRequest, part::KeyRange},
    error::{Error, Result},
};

/// The plan of a scan.
pub struct ScanPlan {
    /// The files that are read, opened.
    pub files: Vec<(Arc<Footer>, Arc<File>)>,
    /// The columns that are read, each once.
    pub columns: Vec<Arc<Reading>>,
    /// Their names.
    pub names: Vec<String>,
    /// The columns that come out, by their place in `columns`.
    pub outputs: Vec<usize>,
    /// Filters on one column each.
    pub column_filters: Vec<ColumnFilterPlan>,
    /// Conjuncts over no or several columns: places in `columns`, and the predicate over them.
    pub row_filters: Vec<(Vec<usize>, Expression)>,
    /// The pieces, in file order.
    pub morsels: Vec<Morsel>,
    /// Row groups of the part that were dropped.
    pub row_groups_pruned: u64,
}

/// All filters on a column.
pub struct ColumnFilterPlan {
    /// The column's place in [`ScanPlan::columns`].
    pub slot: usize,
    /// Conjuncts over column 0.
    pub predicates: Vec<Expression>,
    /// Runtime filters.
    pub runtime: Vec<Arc<RuntimeFilterSlot>>,
    /// The keys of the part that is read.
    pub range: Option<KeyRange>,
}

/// A piece of a row group.
#[derive(Debug, Clone)]
pub struct Morsel {
    /// Which file.
    pub file: usize,
    /// Which row group of it.
    pub row_group: usize,
    /// Which of its rows.
    pub rows: Range<usize>,
    /// Whether its rows must be tested for belonging to the part that is read.
    pub tests_range: bool,
}

/// Row groups are cut until there are this many morsels per core.
const MORSELS_PER_CORE: usize = 4;
/// But not into pieces smaller than this: each decompresses the dictionaries anew.
const MORSEL_ROWS_MIN: usize = 16_384;

impl ScanPlan {
    /// Plans `request` over `footers`, whose columns are `table`.
    ///
    /// # Errors
    /// 0A000 for a column that cannot be read; missing and changed files.
    pub fn new(footers: &[Arc<Footer>], table: &[Column], request: &ScanRequest) -> Result<Self> {
        let row_groups = part_row_groups(footers, table, &request.part)?;
        // The column that the table is cut by is read only where a row group lies across an end of the range.
        let range = match request.part {
            ScanPart::KeyRange { column, lower, upper } if row_groups.iter().any(|row_group| row_group.straddles) => {
                Some((column, KeyRange { lower, upper }))
            }
            _ => None,
        };
        let key = range.iter().map(|(column, _)| *column);
        let positions: Vec<usize> = request.columns.iter().chain(&request.filter_columns).copied().chain(key).collect();
        let mut slots = BTreeMap::new();
        let mut plan = ScanPlan {
            files: Vec::new(),
            columns: Vec::new(),
            names: Vec::new(),
            outputs: Vec::new(),
            column_filters: Vec::new(),
            row_filters: Vec::new(),
            morsels: Vec::new(),
            row_groups_pruned: 0,
        };
        let mut slot_of = Vec::with_capacity(positions.len());
        for position in positions {
            let column = table.get(position).ok_or_else(|| Error::internal(format!("a table has no column {position}")))?;
            let reading = column
                .reading
                .as_ref()
                .ok_or_else(|| Error::unsupported(format!("the type of column \"{}\" (nested or not known)", column.name)))?;
            slot_of.push(*slots.entry(position).or_insert_with(|| {
                plan.columns.push(Arc::new(reading.clone()));
                plan.names.push(column.name.clone());
                plan.columns.len() - 1
            }));
        }
        plan.outputs = slot_of[..request.columns.len()].to_vec();
        let range = range.map(|(column, range)| (slots[&column], range));
        plan.add_filters(request, &slot_of, range);
        plan.add_morsels(footers, &row_groups, request, &slot_of);
        plan.open_files(footers, &row_groups, &request.part)?;
        Ok(plan)
    }

    fn add_filters(&mut self, request: &ScanRequest, slot_of: &[usize], range: Option<(usize, KeyRange)>) {
        let mut conjuncts = Vec::new();
        request.filters.iter().for_each(|filter| flatten(filter, &mut conjuncts));
        let mut by_slot: BTreeMap<usize, ColumnFilterPlan> = BTreeMap::new();
        let new_filter = |slot| ColumnFilterPlan { slot, predicates: Vec::new(), runtime: Vec::new(), range: None };
        for conjunct in conjuncts {
            let mut used: Vec<usize> = conjunct.columns().into_iter().map(|position| slot_of[position]).collect();
            used.sort_unstable();
            used.dedup();
            let mut conjunct = conjunct.clone();
            conjunct.remap_columns(&|position| used.iter().position(|slot| *slot == slot_of[position]).unwrap_or(0));
            match used[..] {
                [slot] => by_slot.entry(slot).or_insert_with(|| new_filter(slot)).predicates.push(conjunct),
                _ => self.row_filters.push((used, conjunct)),
            }
        }
        for (filter, position) in &request.runtime_filters {
            let slot = slot_of[*position];
            by_slot.entry(slot).or_insert_with(|| new_filter(slot)).runtime.push(Arc::clone(filter));
        }
        if let Some((slot, range)) = range {
            by_slot.entry(slot).or_insert_with(|| new_filter(slot)).range = Some(range);
        }
        self.column_filters = by_slot.into_values().collect();
    }

    fn add_morsels(&mut self, footers: &[Arc<Footer>], row_groups: &[PartRowGroup], request: &ScanRequest, slot_of: &[usize]) {
        for &PartRowGroup { file, row_group, straddles } in row_groups {
            let footer = &footers[file];
            let facts = |position: usize| self.facts(footer, row_group, slot_of[position]);
            let rows = footer.num_rows(row_group);
            if rows == 0 || !request.filters.iter().all(|filter| prune::may_pass(filter, &facts)) {
                self.row_groups_pruned += 1;
            } else {
                self.morsels.push(Morsel { file, row_group, rows: 0..rows, tests_range: straddles });
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = cores * MORSELS_PER_CORE;
        if !self.columns.is_empty() && self.morsels.len() < wanted {
            self.morsels = cut(std::mem::take(&mut self.morsels), wanted);
        }
    }

    /// Opens the files, of a part those it has rows in; morsels count these from then on.
    fn open_files(&mut self, footers: &[Arc<Footer>], row_groups: &[PartRowGroup], part: &ScanPart) -> Result<()> {
        let mut places: Vec<Option<usize>> = vec![None; footers.len()];
        let mut used: Vec<usize> = match part {
            ScanPart::All => (0..footers.len()).collect(),
            _ => row_groups.iter().map(|row_group| row_group.file).collect(),
        };
        used.dedup();
        for file in used {
            places[file] = Some(self.files.len());
            self.files.push((Arc::clone(&footers[file]), footers[file].open()?));
        }
        for morsel in &mut self.morsels {
            morsel.file = places[morsel.file].ok_or_else(|| Error::internal("a morsel is of a file that is not read"))?;
        }
        Ok(())
    }

    /// What is known of a column in a row group.
    pub fn facts(&self, footer: &Footer, row_group: usize, slot: usize) -> ColumnFacts {
        let reading = &self.columns[slot];
        let chunk = footer.metadata.row_group(row_group).column(reading.leaf);
        ColumnFacts { bounds: bounds::bounds(chunk, reading), null_count: bounds::null_count(chunk, reading) }
    }
}

/// Cuts morsels into equal pieces, so that there are about `wanted`.
fn cut(morsels: Vec<Morsel>, wanted: usize) -> Vec<Morsel> {
    let total: usize = morsels.iter().map(|morsel| morsel.rows.len()).sum();
    let target = total.div_ceil(wanted).max(MORSEL_ROWS_MIN);
    let mut pieces = Vec::new();
    for morsel in morsels {
        let rows = morsel.rows.len();
        let count = rows.div_ceil(target).max(1);
        for piece in 0..count {
            let bounds = (rows * piece / count)..(rows * (piece + 1) / count);
            pieces.push(Morsel { rows: bounds, ..morsel });
        }
    }
    pieces
}

fn flatten<'a>(filter: &'a Expression, conjuncts: &mut Vec<&'a Expression>) {
    match filter {
        Expression::And(operands) => operands.iter().for_each(|operand| flatten(operand, conjuncts)),
        other => conjuncts.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_row_groups_are_cut_into_equal_pieces() {
        let morsel = |row_group, rows| Morsel { file: 0, row_group, rows: 0..rows, tests_range: false };
        let morsels = vec![morsel(0, 100_000), morsel(1, 10)];
        let pieces = cut(morsels, 4);
        assert_eq!(pieces.iter().map(|p| p.rows.len()).collect::<Vec<_>>(), [25_000, 25_000, 25_000, 25_000, 10]);
        assert_eq!(pieces[3].rows.end, 100_000);
    }
}
