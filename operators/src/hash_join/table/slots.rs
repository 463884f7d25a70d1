//! Zeroed arrays that several threads fill at disjoint places without locks.
//!
//! Position: under the structures of [`super`]. Loads and stores are relaxed and plain machine moves; what
//! makes the contents visible to other threads is the end of the parallel phase. Memory comes zeroed from
//! the system, so that pages nobody writes to cost nothing.

use std::{
    mem::ManuallyDrop,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

macro_rules! slots {
    ($name:ident, $atomic:ty, $word:ty, $doc:literal) => {
        #[doc = $doc]
        pub(in crate::hash_join) struct $name(Vec<$atomic>);

        impl $name {
            /// `len` zeros.
            pub(in crate::hash_join) fn zeroed(len: usize) -> Self {
                let mut words = ManuallyDrop::new(vec![0 as $word; len]);
                // SAFETY: pointer, length and capacity come from a Vec that is not dropped; the atomic type has the
                // size, alignment and bit validity of the plain one, as its documentation guarantees.
                Self(unsafe { Vec::from_raw_parts(words.as_mut_ptr().cast(), words.len(), words.capacity()) })
            }

            #[inline(always)]
            pub(in crate::hash_join) fn get(&self, index: usize) -> $word {
                self.0[index].load(Ordering::Relaxed)
            }

            /// Only one thread may write to `index` in one phase.
            #[inline(always)]
            pub(in crate::hash_join) fn set(&self, index: usize, word: $word) {
                self.0[index].store(word, Ordering::Relaxed);
            }

            /// The plain words.
            pub(in crate::hash_join) fn into_words(self) -> Vec<$word> {
                let mut words = ManuallyDrop::new(self.0);
                // SAFETY: as in `zeroed`, the other way; `self` is owned, so no other thread has access any more.
                unsafe { Vec::from_raw_parts(words.as_mut_ptr().cast(), words.len(), words.capacity()) }
            }
        }
    };
}

slots!(Slots32, AtomicU32, u32, "32-bit words.");
slots!(Slots64, AtomicU64, u64, "64-bit words.");

impl Slots64 {
    /// Sets bits of a word that other threads may write to as well; answers what it held before.
    #[inline(always)]
    pub(in crate::hash_join) fn fetch_or(&self, index: usize, bits: u64) -> u64 {
        self.0[index].fetch_or(bits, Ordering::Relaxed)
    }

    /// How many words there are.
    pub(in crate::hash_join) fn len(&self) -> usize {
        self.0.len()
    }
}
