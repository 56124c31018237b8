//! What is acknowledged and not yet in sled: a short queue of closed tables of changes, and the one that grows. Readers
//! look here first. A table leaves only after sled has taken all of it, so a reader that holds the state's lock finds
//! every acknowledged record in one of the two places.

use std::collections::VecDeque;
use std::sync::Arc;

use super::blocks::Entry;
use super::changes::{Changes, Place};

/// A table is closed when it has grown to this many bytes; sled takes one in one transaction.
const TABLE_BYTES: usize = 4 << 20;

/// The tables, oldest first, and the growing one.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    closed: VecDeque<Arc<Changes>>,
    growing: Changes,
}

impl Overlay {
    /// The table to add to. Call [`Overlay::grown`] after each batch.
    pub(super) fn growing(&mut self) -> &mut Changes {
        &mut self.growing
    }

    /// Closes the growing table if it is large enough.
    pub(super) fn grown(&mut self) {
        if self.growing.bytes >= TABLE_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        if !self.growing.is_empty() {
            self.closed.push_back(Arc::new(std::mem::take(&mut self.growing)));
        }
    }

    /// The oldest table, which stays visible until [`Overlay::remove_oldest`].
    pub(super) fn oldest(&mut self) -> Option<Arc<Changes>> {
        if self.closed.is_empty() {
            self.close();
        }
        self.closed.front().cloned()
    }

    /// The oldest table is in sled.
    pub(super) fn remove_oldest(&mut self) {
        self.closed.pop_front();
    }

    /// How many tables are not in sled.
    pub(super) fn tables(&self) -> usize {
        self.closed.len() + usize::from(!self.growing.is_empty())
    }

    fn newest_first(&self) -> impl Iterator<Item = &Changes> {
        std::iter::once(&self.growing).chain(self.closed.iter().rev().map(Arc::as_ref))
    }

    /// An encoded record.
    pub(super) fn record(&self, place: Place) -> Option<&[u8]> {
        self.newest_first().find_map(|table| table.records.get(&place)).map(Vec::as_slice)
    }

    pub(super) fn entry(&self, place: Place) -> Option<&Entry> {
        self.newest_first().find_map(|table| table.entries.get(&place))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tables() == 0
    }
}
