//! Variance components of grades: how much of the greatest possible spread lies between the answers of one question.
//!
//! Invariant: plain sums over the given grades; nothing is remembered.

/// What the grades of one question's answers say by their variances alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Mean of all grades.
    pub grand_mean: f64,
    /// Pooled variance of the grades of one answer: disagreement and noise; 0 where no answer has two grades.
    pub within: f64,
    /// The same, drawn to what is usual elsewhere: (SSW + v0·nu0) / (N − K + nu0).
    pub within_shrunk: f64,
    /// Variance of the answers' qualities by analysis of variance (unequal group sizes), at least 0.
    pub between: f64,
    /// The same (population form, with the shrunk `within`) as a share of m(1 − m), the most that grades in `[0, 1]`
    /// with mean m can have: 1 says two-level, 1/3 evenly spread. Kept within `[0, 1]`.
    pub rho: f64,
    /// (3·rho − 1) / 2 kept within `[0, 1]`: the p of the mixture law with this variance. It is biased low where grades
    /// are squeezed together: good for ordering questions, not as a probability.
    pub p_moment: f64,
}

/// Sum of squared deviations from each answer's own mean, and its degrees of freedom N − K.
pub fn within_squares(scores: &[Vec<f64>]) -> (f64, usize) {
    let squares = |grades: &Vec<f64>| {
        let mean = grades.iter().sum::<f64>() / grades.len() as f64;
        grades.iter().map(|grade| (grade - mean).powi(2)).sum::<f64>()
    };
    let graded = scores.iter().filter(|grades| !grades.is_empty());
    graded.fold((0.0, 0), |(sum, freedom), grades| (sum + squares(grades), freedom + grades.len() - 1))
}

/// The moments of `scores` (one list of grades in `[0, 1]` an answer) with the prior `(v0, nu0)` of the within variance;
/// `None` with fewer than two graded answers.
///
/// One-way random-effects analysis of variance (Searle, Casella, McCulloch, Variance Components, 1992, section 3.6);
/// the share of m(1 − m) is the mixture law's: its variance is (1 + 2p)/3 of it.
pub fn moments(scores: &[Vec<f64>], prior: (f64, f64)) -> Option<Moments> {
    let graded: Vec<&Vec<f64>> = scores.iter().filter(|grades| !grades.is_empty()).collect();
    let answers = graded.len();
    if answers < 2 {
        return None;
    }
    let total = graded.iter().map(|grades| grades.len()).sum::<usize>() as f64;
    let k = answers as f64;
    let grand_mean = graded.iter().flat_map(|grades| grades.iter()).sum::<f64>() / total;
    let (within_sum, freedom) = within_squares(scores);
    let within = if freedom == 0 { 0.0 } else { within_sum / freedom as f64 };
    let within_shrunk = (within_sum + prior.0 * prior.1) / (freedom as f64 + prior.1).max(f64::MIN_POSITIVE);
    let between_sum: f64 = graded
        .iter()
        .map(|grades| {
            let n = grades.len() as f64;
            n * (grades.iter().sum::<f64>() / n - grand_mean).powi(2)
        })
        .sum();
    let squared: f64 = graded.iter().map(|grades| (grades.len() as f64).powi(2)).sum();
    let size = (total - squared / total) / (k - 1.0);
    let between_with = |within: f64| ((between_sum / (k - 1.0) - within) / size).max(0.0);
    let most = grand_mean * (1.0 - grand_mean);
    let rho = match most > 0.0 {
        true => (between_with(within_shrunk) * (k - 1.0) / k / most).clamp(0.0, 1.0),
        false => 0.0,
    };
    let p_moment = closedness_of_rho(rho);
    Some(Moments { grand_mean, within, within_shrunk, between: between_with(within), rho, p_moment })
}

/// The p whose mixture law p·(two points) + (1 − p)·(uniform) has the share `rho` = (1 + 2p)/3 of the greatest variance.
pub fn closedness_of_rho(rho: f64) -> f64 {
    ((3.0 * rho - 1.0) / 2.0).clamp(0.0, 1.0)
}

/// The power s of the utility −x^−s (s > 0), log x (0) or x^|s| (s < 0) whose collapsed law, a symmetric Beta, has the
/// share `rho` = 1/(2 + s) of the greatest variance; kept within `[−1, 1]`, beyond which the law is two-point or uniform.
pub fn power_of_rho(rho: f64) -> f64 {
    if rho > 0.0 { (1.0 / rho - 2.0).clamp(-1.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_levels_are_told_from_even_spread_by_hand() {
        // Grades agree within each answer: variance of {0, 0, 1, 1} is 1/4 = all of m(1 - m) at m = 1/2.
        let closed = moments(&[vec![0.0, 0.0], vec![0.0, 0.0], vec![1.0, 1.0], vec![1.0, 1.0]], (0.0, 0.0)).unwrap();
        assert_eq!((closed.grand_mean, closed.within, closed.rho, closed.p_moment), (0.5, 0.0, 1.0, 1.0));
        assert!((closed.between - 1.0 / 3.0).abs() < 1e-15, "unbiased form: 1/4 * 4/3");
        // {0, 1/3, 2/3, 1}: population variance 5/36, a share of 5/9.
        let thirds: Vec<Vec<f64>> = (0..4).map(|i| vec![f64::from(i) / 3.0; 2]).collect();
        assert!((moments(&thirds, (0.0, 0.0)).unwrap().rho - 5.0 / 9.0).abs() < 1e-15);
    }

    #[test]
    fn agreement_on_one_grade_and_too_few_answers_breed_no_nan() {
        let equal = moments(&[vec![1.0], vec![1.0], vec![1.0]], (0.0, 0.0)).unwrap();
        assert_eq!((equal.rho, equal.within, equal.between), (0.0, 0.0, 0.0));
        assert_eq!(moments(&[vec![0.5], vec![]], (0.03, 4.0)), None);
        assert_eq!((power_of_rho(0.0), power_of_rho(1.0)), (1.0, -1.0));
    }

    #[test]
    fn the_usual_variance_counts_as_so_many_grades() {
        // Sum of squares 1/2 on 2 degrees of freedom, and four grades that vary by 0.03.
        let mixed = moments(&[vec![0.0, 1.0], vec![0.5, 0.5]], (0.03, 4.0)).unwrap();
        assert!((mixed.within_shrunk - 0.62 / 6.0).abs() < 1e-15 && mixed.within == 0.25, "{mixed:?}");
    }
}
