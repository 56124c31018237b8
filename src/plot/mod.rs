//! Charts as SVG files, in one house style.
//!
//! Invariant: a chart is a pure function of its series; what is not a finite number is left out, never drawn at 0.

mod collapse;
mod lines;

pub use collapse::collapse_history;
pub use lines::{Panel, Series, lines, panels};
