//! Dates as the dump has them: `2009-03-05T22:28:34.823`, UTC without saying so.

/// Milliseconds since the Unix epoch, or `None` when the text is no such date.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let separators = text.as_bytes();
    let shape = separators.get(4) == Some(&b'-') && separators.get(7) == Some(&b'-');
    if !shape || !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let (hour, minute, second) = match separators.get(10) {
        None => (0, 0, 0),
        Some(b'T') => (number(11..13)?, number(14..16)?, number(17..19)?),
        Some(_) => return None,
    };
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    let fraction: String = text.get(20..).unwrap_or("").chars().take_while(char::is_ascii_digit).take(3).collect();
    let millis = format!("{fraction:0<3}").parse::<i64>().ok()?;
    Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis)
}

/// Days since 1970-01-01 in the Gregorian calendar; years begin in March, so the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 1
        - 719_468
}

/// The day of a moment, as `2009-03-05`: the inverse of [`days`] (years begin in March here too).
pub(super) fn day(at: i64) -> String {
    let days = at.div_euclid(86_400_000) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::{day, parse};

    #[test]
    fn moments_have_the_day_that_they_were_read_from() {
        for text in ["1970-01-01", "2000-02-29", "2023-12-31", "2024-02-29", "2024-03-01"] {
            assert_eq!(parse(text).map(|at| day(at + 86_399_999)).as_deref(), Some(text));
        }
    }

    #[test]
    fn dates_become_milliseconds() {
        assert_eq!(parse("1970-01-01T00:00:00.000"), Some(0));
        assert_eq!(parse("2000-02-29T12:00:00.5"), Some(951_825_600_500));
        assert_eq!(parse("2009-03-05T22:28:34.823"), Some(1_236_292_114_823));
        assert_eq!(parse("2024-12-31"), Some(1_735_603_200_000));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "yesterday", "2009-13-05T22:28:34", "2009-03-05 22:28", "2009-03-05T25:00:00", "ééééééééé"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
