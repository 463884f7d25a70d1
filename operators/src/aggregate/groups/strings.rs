//! Numbers for the distinct texts of a key column, the same for all chains.
//!
//! Texts that arrive behind dictionary codes are looked up once per dictionary and chain: a chain keeps a
//! map from the codes of the dictionary at hand to the shared numbers. Then a text key costs no more than
//! an integer key, and packed keys of different chains can be compared.

use std::sync::{Arc, OnceLock};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder},
    buffer::NullBuffer,
    datatypes::{DataType, UInt32Type},
};
use hashbrown::HashTable;
use parking_lot::Mutex;

use super::rows::hash_bytes;
use crate::{Error, Result};

/// More distinct texts than this are not worth numbering: the key is encoded otherwise.
pub(crate) const STRINGS_MAX: usize = 1 << 16;

const UNKNOWN: u32 = u32::MAX;

/// The numbers given so far.
#[derive(Debug, Default)]
pub(crate) struct SharedStrings {
    texts: Mutex<Texts>,
    /// Made when the first result is read; no text is added after that.
    snapshot: OnceLock<ArrayRef>,
}

#[derive(Debug, Default)]
struct Texts {
    by_hash: HashTable<u32>,
    heap: String,
    ends: Vec<usize>,
}

impl Texts {
    fn get(&self, id: u32) -> &str {
        let start = if id == 0 { 0 } else { self.ends[id as usize - 1] };
        &self.heap[start..self.ends[id as usize]]
    }

    /// The number of `text`; `None` if there are too many.
    fn number(&mut self, text: &str) -> Option<u32> {
        let hash = hash_bytes(text.as_bytes());
        if let Some(id) = self.by_hash.find(hash, |id| self.get(*id) == text) {
            return Some(*id);
        }
        let id = self.ends.len();
        if id == STRINGS_MAX {
            return None;
        }
        self.heap.push_str(text);
        self.ends.push(self.heap.len());
        let (heap, ends) = (&self.heap, &self.ends);
        self.by_hash.insert_unique(hash, id as u32, |id| {
            let start = if *id == 0 { 0 } else { ends[*id as usize - 1] };
            hash_bytes(&heap.as_bytes()[start..ends[*id as usize]])
        });
        Some(id as u32)
    }
}

impl SharedStrings {
    /// The texts by number; to be called when no more will come.
    pub(crate) fn snapshot(&self) -> ArrayRef {
        let make = || -> ArrayRef {
            let texts = self.texts.lock();
            let mut builder = StringViewBuilder::with_capacity(texts.ends.len());
            (0..texts.ends.len()).for_each(|id| builder.append_value(texts.get(id as u32)));
            // A column of NULLs has no text, but its codes still have to point to something.
            if texts.ends.is_empty() {
                builder.append_value("");
            }
            Arc::new(builder.finish())
        };
        let texts = self.texts.lock().ends.len().max(1);
        match self.snapshot.get() {
            Some(snapshot) if snapshot.len() == texts => Arc::clone(snapshot),
            Some(_) => make(),
            None => Arc::clone(self.snapshot.get_or_init(make)),
        }
    }
}

/// One chain's view of a column's texts.
#[derive(Debug, Default)]
pub(crate) struct LocalStrings {
    /// The dictionary that `numbers` belongs to.
    dictionary: Option<StringViewArray>,
    /// By code; `UNKNOWN` until a row has it.
    numbers: Vec<u32>,
    ids: Vec<u32>,
}

impl LocalStrings {
    /// The number of every row's text, and which rows are not NULL; `None` if there are too many texts.
    pub(crate) fn ids(&mut self, shared: &SharedStrings, column: &ArrayRef) -> Result<Option<(&[u32], Option<NullBuffer>)>> {
        let nulls = crate::aggregate::accumulator::nulls(column);
        let known = match column.data_type() {
            DataType::Utf8View => self.number_plain(shared, column.as_string_view()),
            DataType::Dictionary(..) => {
                let dictionary = column.as_dictionary_opt::<UInt32Type>().and_then(|d| Some((d.keys(), d.values().as_string_view_opt()?)));
                let (codes, values) = dictionary.ok_or_else(|| unexpected(column))?;
                self.use_dictionary(values);
                self.number_codes(shared, codes.values(), nulls.as_ref())
            }
            _ => return Err(unexpected(column)),
        };
        Ok(known.then_some((self.ids.as_slice(), nulls)))
    }

    fn use_dictionary(&mut self, values: &StringViewArray) {
        let is_same = |known: &StringViewArray| known.views().ptr_eq(values.views());
        if !self.dictionary.as_ref().is_some_and(is_same) {
            // Kept alive, so that no other dictionary can take its address.
            self.dictionary = Some(values.clone());
            self.numbers.clear();
            self.numbers.resize(values.len(), UNKNOWN);
        }
    }

    fn number_codes(&mut self, shared: &SharedStrings, codes: &[u32], nulls: Option<&NullBuffer>) -> bool {
        self.ids.clear();
        // The code of a NULL may be anything.
        let number = |code: &u32| self.numbers.get(*code as usize).copied().unwrap_or(UNKNOWN);
        self.ids.extend(codes.iter().map(number));
        if !self.ids.contains(&UNKNOWN) {
            return true;
        }
        let Some(dictionary) = &self.dictionary else { return false };
        let mut texts = shared.texts.lock();
        for (row, id) in self.ids.iter_mut().enumerate() {
            if *id == UNKNOWN && nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                let code = codes[row] as usize;
                if self.numbers[code] == UNKNOWN {
                    let Some(number) = texts.number(dictionary.value(code)) else { return false };
                    self.numbers[code] = number;
                }
                *id = self.numbers[code];
            }
        }
        true
    }

    fn number_plain(&mut self, shared: &SharedStrings, column: &StringViewArray) -> bool {
        let mut texts = shared.texts.lock();
        self.ids.clear();
        for row in 0..column.len() {
            let id = if column.is_null(row) { Some(UNKNOWN) } else { texts.number(column.value(row)) };
            let Some(id) = id else { return false };
            self.ids.push(id);
        }
        true
    }
}

fn unexpected(column: &ArrayRef) -> Error {
    Error::Internal(format!("a column of {} where text is expected", column.data_type()))
}
