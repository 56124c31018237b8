//! Tables: a line a row, the first row as their head.
//!
//! Invariant: no row has more cells than the first (what is beyond would not be shown); in a cell all is inline.

use super::Writer;

/// A table that is open.
#[derive(Default)]
pub(super) struct Table {
    /// Tables within its cells; their text is the cell's.
    within: usize,
    columns: Option<usize>,
    /// Of this row, so far.
    cells: usize,
}

impl Writer<'_> {
    pub(super) fn is_in_cell(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.cells > 0)
    }

    pub(super) fn table_tag(&mut self, name: &str, closing: bool) {
        match (&mut self.table, name, closing) {
            (None, "table", false) => {
                self.block(2);
                self.table = Some(Table::default());
            }
            (None, _, _) => self.block(1),
            (Some(table), "table", false) => table.within += 1,
            (Some(table), "table", true) if table.within > 0 => table.within -= 1,
            (Some(_), "table", true) => self.end_table(),
            (Some(table), _, _) if table.within > 0 => self.space = true,
            (Some(_), "tr", _) => self.end_row(),
            (Some(_), _, true) => self.close_inline(),
            (Some(_), _, false) => self.cell(),
        }
    }

    fn cell(&mut self) {
        self.close_inline();
        let Some(table) = &mut self.table else { return };
        table.cells += 1;
        let first = table.cells == 1;
        // A cell too many goes on in the last.
        if table.columns.is_none_or(|columns| table.cells <= columns) {
            if first {
                self.newlines = self.newlines.max(1);
            }
            self.space = true;
            self.put("|");
        }
        self.space = true;
    }

    fn end_row(&mut self) {
        self.close_inline();
        let Some(Table { cells, columns, .. }) = &mut self.table else { return };
        let count = std::mem::take(cells);
        if count > 0 {
            let is_head = columns.is_none();
            columns.get_or_insert(count);
            self.space = true;
            self.put("|");
            if is_head {
                self.newlines = 1;
                self.put(&format!("|{}", " --- |".repeat(count)));
            }
        }
        self.newlines = self.newlines.max(1);
        self.space = false;
    }

    pub(super) fn end_table(&mut self) {
        if self.table.is_some() {
            self.end_row();
            self.table = None;
            self.block(2);
        }
    }
}
