//! One figure over time, in bounded memory.
//!
//! Invariant: at most [`MOST`] points whatever comes. When they are full, neighbours are merged into their mean, so that
//! all points but the last stand for equally many values; the whole life of the daemon stays visible.

/// Most points of a series.
pub const MOST: usize = 600;

/// Time in milliseconds since the Unix epoch, the version that the value belongs to, and the value.
pub type Point = (i64, u64, f64);

/// A bounded series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    points: Vec<Point>,
    /// Values that a whole point stands for.
    stride: u32,
    /// The point that is not whole yet: the sum of its values and how many they are.
    open: Option<(Point, u32)>,
    /// How often the newest value came in a row.
    repeated: u32,
    newest: f64,
}

impl Default for Series {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1, open: None, repeated: 0, newest: f64::NAN }
    }
}

impl Series {
    /// Adds a value; one that is not finite is left out.
    pub fn push(&mut self, t_ms: i64, version: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.repeated = if self.newest == value { self.repeated.saturating_add(1) } else { 1 };
        self.newest = value;
        let (sum, count) = self.open.map_or((0.0, 0), |((_, _, sum), count)| (sum, count));
        self.open = Some(((t_ms, version, sum + value), count + 1));
        if count + 1 == self.stride {
            self.points.extend(self.mean());
            self.open = None;
        }
        if self.points.len() == MOST {
            let merge = |pair: &[Point]| (pair[1].0, pair[1].1, pair[0].2 / 2.0 + pair[1].2 / 2.0);
            self.points = self.points.chunks_exact(2).map(merge).collect();
            self.stride = self.stride.saturating_mul(2);
        }
    }

    /// Adds a value that was measured whether or not something changed: of three equal ones in a row the middle one is
    /// not kept, so that an idle night does not push the day out.
    pub fn measure(&mut self, t_ms: i64, version: u64, value: f64) {
        match self.points.last_mut() {
            Some(last) if self.newest == value && self.repeated >= 2 && self.open.is_none() => {
                (last.0, last.1) = (t_ms, version);
            }
            _ => self.push(t_ms, version, value),
        }
    }

    /// The points in their order, the newest values included.
    pub fn points(&self) -> Vec<Point> {
        self.points.iter().copied().chain(self.mean()).collect()
    }

    fn mean(&self) -> Option<Point> {
        self.open.map(|((t_ms, version, sum), count)| (t_ms, version, sum / f64::from(count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_bounded_keeps_its_first_and_newest_values_and_its_mean() {
        let mut series = Series::default();
        for i in 0..100_000u64 {
            series.push(i as i64, i, i as f64);
            assert!(series.points().len() <= MOST);
        }
        let points = series.points();
        assert!(points.len() > MOST / 2 - 1 && points.is_sorted_by_key(|point| point.0), "{}", points.len());
        assert_eq!(points.last().map(|point| (point.0, point.1)), Some((99_999, 99_999)));
        // 256 values a point: the first is the mean of 0 to 255.
        assert_eq!((points[0].2, points[1].2), (127.5, 383.5));
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let mut series = Series::default();
        [f64::NAN, f64::INFINITY, 1.0].into_iter().for_each(|value| series.push(1, 1, value));
        assert_eq!(series.points(), [(1, 1, 1.0)]);
    }

    #[test]
    fn an_idle_stretch_is_two_points_and_ends_when_something_happens() {
        let mut series = Series::default();
        series.measure(0, 0, 3.0);
        (1..1000).for_each(|t| series.measure(t, 0, 0.0));
        series.measure(1000, 1, 2.0);
        assert_eq!(series.points(), [(0, 0, 3.0), (1, 0, 0.0), (999, 0, 0.0), (1000, 1, 2.0)]);
    }
}
