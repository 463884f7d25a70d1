//! Probes the build side with the rows of a batch at a time.
//!
//! Position: an operator of the probe pipeline, which starts when the build side is complete.
//!
//! ```text
//! batch ─► key columns ─► codes ─► candidate pairs ─► keys equal? ─► residual? ─► by kind: push pairs,
//!                                  (a chunk at a time)                            note matched rows
//! ```

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use pipelines::{Batch, CancelToken, Flow, LocalContext, LocalOperator, Operator, Output, Result};

use super::{
    Join, JoinKind,
    emit::{self, Emitter},
    gather,
    keys::{self, Codes, KeyColumn, KeyExtractor, KeyForm},
    pairs::Pairs,
    residual::{self, Residual},
    side::BuildSide,
    table::{Cursor, NO_ROW},
    unknown::Unknowns,
};
use crate::Error;

/// The operator.
pub(super) struct Probe(pub Arc<Join>);

impl Operator for Probe {
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalOperator>> {
        let join = &self.0;
        let side = join.side()?;
        let spec = &join.spec;
        let residual = spec.residual.as_ref().map(|r| Residual::new(r, spec.probe_types.len(), spec.build_types.len(), &join.stored));
        Ok(Box::new(LocalProbe {
            extractor: KeyExtractor::new(&spec.keys, &join.key_types, false),
            residual,
            emitter: Emitter::new(join, &side),
            found: Found::new(spec.kind, side.table.is_unique()),
            pairs: Pairs::default(),
            batch_rows: context.batch_rows.max(1),
            cancel: context.cancel.clone(),
            join: Arc::clone(join),
            side,
        }))
    }
}

struct LocalProbe {
    join: Arc<Join>,
    side: Arc<BuildSide>,
    extractor: KeyExtractor,
    residual: Option<Residual>,
    emitter: Emitter,
    found: Found,
    pairs: Pairs,
    batch_rows: usize,
    cancel: CancelToken,
}

/// What is noted about the rows of one batch until all their pairs have been seen.
struct Found {
    /// Which of the lists are kept.
    keeps_matched: bool,
    keeps_rows: bool,
    /// By position: there was a match.
    matched: Vec<bool>,
    /// By position: there was a pair with matching keys whose residual is NULL.
    unknown: Vec<bool>,
    /// By position: the only match.
    rows: Vec<u32>,
}

impl Found {
    fn new(kind: JoinKind, is_unique: bool) -> Self {
        use JoinKind::*;
        // Outer joins with at most one match per row keep the order of the probe side and its columns uncopied.
        let keeps_rows = kind == ProbeSingle || (matches!(kind, ProbeOuter | FullOuter) && is_unique);
        let keeps_matched = matches!(kind, ProbeSemi | ProbeAnti | ProbeMark) || (matches!(kind, ProbeOuter | FullOuter) && !keeps_rows);
        Found { keeps_matched, keeps_rows, matched: Vec::new(), unknown: Vec::new(), rows: Vec::new() }
    }

    fn reset(&mut self, num_rows: usize) {
        if self.keeps_matched {
            self.matched.clear();
            self.matched.resize(num_rows, false);
            self.unknown.clear();
            self.unknown.resize(num_rows, false);
        }
        if self.keeps_rows {
            self.rows.clear();
            self.rows.resize(num_rows, NO_ROW);
        }
    }

    fn positions(&self, wanted: bool) -> Vec<u32> {
        (0..self.matched.len() as u32).filter(|position| self.matched[*position as usize] == wanted).collect()
    }
}

impl LocalOperator for LocalProbe {
    fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow> {
        if self.join.is_over_without_probe(&self.side) {
            return Ok(Flow::Finished);
        }
        let keys = self.extractor.extract(&batch)?;
        let codes = self.side.form.codes(&self.join.spec.keys, &keys, batch.num_rows());
        if self.join.asks_only_membership() && self.side.form != KeyForm::Hashed {
            return self.push_members(&batch, &keys, &codes, output);
        }
        self.found.reset(batch.num_rows());
        let mut cursor = Cursor::default();
        loop {
            self.pairs.clear();
            let more = self.side.table.lookup(&codes.values, &mut cursor, self.batch_rows, &mut self.pairs);
            self.keep_matches(&batch, &keys, &codes)?;
            if self.settle(&batch, output)? == Flow::Finished {
                return Ok(Flow::Finished);
            }
            if !more {
                break;
            }
            if matches!(self.join.spec.kind, JoinKind::ProbeSemi | JoinKind::ProbeAnti | JoinKind::ProbeMark) {
                cursor.skip_if(|position| self.found.matched[position]);
            }
            self.cancel.check()?;
        }
        self.conclude(&batch, &keys, output)
    }

    fn finish(&mut self, output: &mut dyn Output) -> Result<()> {
        self.emitter.finish(output).map(drop)
    }
}

impl LocalProbe {
    // Semi, anti and mark joins by integer keys without a residual: no pairs.
    fn push_members(&mut self, batch: &Batch, keys: &[KeyColumn], codes: &Codes, output: &mut dyn Output) -> Result<Flow> {
        let kind = self.join.spec.kind;
        let positions = &mut self.pairs.positions;
        positions.clear();
        if kind != JoinKind::ProbeMark && codes.nulls.is_none() {
            self.side.table.select(&codes.values, kind == JoinKind::ProbeSemi, positions);
            return self.emitter.probe_rows(batch, positions, output);
        }
        self.side.table.select(&codes.values, true, positions);
        if let Some(nulls) = &codes.nulls {
            positions.retain(|position| nulls.is_valid(*position as usize));
        }
        self.found.reset(batch.num_rows());
        positions.iter().for_each(|position| self.found.matched[*position as usize] = true);
        self.conclude(batch, keys, output)
    }

    // Candidates become matches.
    fn keep_matches(&mut self, batch: &Batch, keys: &[KeyColumn], codes: &Codes) -> Result<()> {
        let (pairs, side) = (&mut self.pairs, &self.side);
        if let Some(nulls) = &codes.nulls {
            pairs.retain(|_, position, _| nulls.is_valid(position as usize));
        }
        if side.form == KeyForm::Hashed {
            keys::retain_equal(&self.join.spec.keys, keys, &side.keys, pairs);
        }
        let Some(residual) = self.residual.as_mut().filter(|_| !pairs.is_empty()) else { return Ok(()) };
        let is_whole = emit::is_identity(&pairs.positions, batch.num_rows());
        let positions = if is_whole { gather::indices(&[]) } else { gather::indices(&pairs.positions) };
        let rows = gather::indices(&pairs.rows);
        let condition = residual.evaluate(
            pairs.len(),
            |column| if is_whole { Ok(Arc::clone(batch.column(column))) } else { gather::take(batch.column(column), &positions) },
            |place| self.emitter.build_column(place, &rows),
        )?;
        if condition.null_count() > 0 && self.join.is_mark() {
            note_unknown(&condition, pairs, side, &mut self.found);
        }
        pairs.retain(|index, _, _| residual::is_true(&condition, index));
        Ok(())
    }

    // Takes the matches of one chunk.
    fn settle(&mut self, batch: &Batch, output: &mut dyn Output) -> Result<Flow> {
        if let Some(matched) = &self.side.matched {
            matched.set_all(&self.pairs.rows);
        }
        if self.found.keeps_matched {
            self.pairs.positions.iter().for_each(|position| self.found.matched[*position as usize] = true);
        }
        if self.found.keeps_rows {
            for (position, row) in self.pairs.iter() {
                let place = &mut self.found.rows[position as usize];
                if *place != NO_ROW {
                    return Err(Error::MoreThanOneRow.into());
                }
                *place = row;
            }
            return Ok(Flow::Continue);
        }
        match self.join.spec.kind {
            JoinKind::Inner | JoinKind::ProbeOuter | JoinKind::BuildOuter | JoinKind::FullOuter => {
                self.emitter.pairs(batch, &self.pairs, output)
            }
            _ => Ok(Flow::Continue),
        }
    }

    // All pairs of the batch have been seen.
    fn conclude(&mut self, batch: &Batch, keys: &[KeyColumn], output: &mut dyn Output) -> Result<Flow> {
        use JoinKind::*;
        if self.found.keeps_rows {
            return self.emitter.all_with(batch, &self.found.rows, output);
        }
        match self.join.spec.kind {
            ProbeOuter | FullOuter => self.emitter.padded(batch, &self.found.positions(false), output),
            ProbeSemi => self.emitter.probe_rows(batch, &self.found.positions(true), output),
            ProbeAnti => self.emitter.probe_rows(batch, &self.found.positions(false), output),
            ProbeMark => {
                let Found { matched, unknown, .. } = &mut self.found;
                let unknowns =
                    Unknowns { join: &self.join, side: &self.side, batch, keys, residual: self.residual.as_mut(), cancel: &self.cancel };
                unknowns.mark_probe_rows(matched, unknown)?;
                let marks =
                    matched.iter().zip(unknown.iter()).map(|(matched, unknown)| if *unknown && !matched { None } else { Some(*matched) });
                self.emitter.all_marked(batch, BooleanArray::from_iter(marks), output)
            }
            BuildMark => {
                let unknowns =
                    Unknowns { join: &self.join, side: &self.side, batch, keys, residual: self.residual.as_mut(), cancel: &self.cancel };
                unknowns.mark_build_rows()?;
                Ok(Flow::Continue)
            }
            Inner | BuildOuter | ProbeSingle | BuildSemi | BuildAnti => Ok(Flow::Continue),
        }
    }
}

// Pairs with matching keys whose residual is NULL.
fn note_unknown(condition: &BooleanArray, pairs: &Pairs, side: &BuildSide, found: &mut Found) {
    for (_, (position, row)) in pairs.iter().enumerate().filter(|(index, _)| condition.is_null(*index)) {
        match &side.unknown {
            Some(unknown) => unknown.set(row),
            None => found.unknown[position as usize] = true,
        }
    }
}
