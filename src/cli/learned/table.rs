//! Plain tables.
//!
//! Invariant: each column is as wide as its widest cell; text stands left, numbers right.

/// Rows under headings.
pub(super) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one. The first column is text, all others are numbers or words that stand right.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|heading| (*heading).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row with a cell a heading.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    /// With a line feed after each row.
    pub(super) fn text(&self) -> String {
        let all: Vec<&Vec<String>> = std::iter::once(&self.headings).chain(&self.rows).collect();
        let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut text = String::new();
        for row in all {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                text += &match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            text = text.trim_end().to_owned() + "\n";
        }
        text
    }
}

/// A number, or a dash where there is none.
pub(super) fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["who", "n"]);
        table.row(vec!["ana".into(), "7".into()]);
        table.row(vec!["jürgen".into(), "1234".into()]);
        assert_eq!(table.text(), "who        n\nana        7\njürgen  1234\n");
        assert_eq!((shown(Some(0.125), 2), shown(None, 2)), ("0.12".to_owned(), "-".to_owned()));
    }
}
