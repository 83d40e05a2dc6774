//! The types of values, how they are written, and what a wrong one is told.

/// What a key's value may be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Kind {
    /// Any text; the empty one means "none".
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds.
    Int { min: i64, max: i64 },
    /// Milliseconds, or a number with `ms`, `s`, `m`, `h`, `d`; at least `min`.
    Millis { min: i64 },
    /// Bytes, or a number with `KiB`, `MiB`, `GiB`, `TiB`; at least `min`.
    Bytes { min: i64 },
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Kind {
    /// The unit, for listings.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Text | Self::Word(_) => "text",
            Self::Bool => "boolean",
            Self::Int { .. } => "number",
            Self::Millis { .. } => "ms",
            Self::Bytes { .. } => "bytes",
        }
    }

    /// Checks `value` and brings it into its plain form (milliseconds and bytes as plain numbers), or says what would be right.
    pub(crate) fn parse(self, value: &str) -> Result<String, String> {
        match self {
            Self::Text => Ok(value.to_owned()),
            Self::Bool => match value.to_ascii_lowercase().as_str() {
                word @ ("true" | "false") => Ok(word.to_owned()),
                _ => Err("must be true or false".to_owned()),
            },
            Self::Int { min, max } => match value.parse::<i64>() {
                Ok(number) if min <= number && number <= max => Ok(number.to_string()),
                _ if max == i64::MAX => Err(format!("must be a whole number of at least {min}")),
                _ => Err(format!("must be a whole number from {min} to {max}")),
            },
            Self::Millis { min } => {
                let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
                scaled(value, &units)
                    .filter(|number| min <= *number)
                    .map(|number| number.to_string())
                    .ok_or_else(|| format!("must be milliseconds of at least {min}, such as 250 or 10s"))
            }
            Self::Bytes { min } => {
                let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
                scaled(value, &units)
                    .filter(|number| min <= *number)
                    .map(|number| number.to_string())
                    .ok_or_else(|| format!("must be bytes of at least {min}, such as 67108864 or 64MiB"))
            }
            Self::Word(words) => match words.iter().find(|word| **word == value) {
                Some(word) => Ok((*word).to_owned()),
                None => Err(format!("must be {}", words.join(" or "))),
            },
        }
    }
}

/// A number, or a number directly followed by one of `units`.
fn scaled(value: &str, units: &[(&str, i64)]) -> Option<i64> {
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let number = number.parse::<i64>().ok()?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Some(number);
    }
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_optional_and_scaled() {
        let bytes = Kind::Bytes { min: 0 };
        assert_eq!(bytes.parse("64MiB"), Ok("67108864".to_owned()));
        assert_eq!(bytes.parse("64 MiB"), Ok("67108864".to_owned()));
        assert_eq!(bytes.parse("12"), Ok("12".to_owned()));
        assert_eq!(Kind::Millis { min: -1 }.parse("-1"), Ok("-1".to_owned()));
        assert_eq!(Kind::Millis { min: 0 }.parse("7d"), Ok("604800000".to_owned()));
    }

    #[test]
    fn wrong_values_are_told_what_would_be_right() {
        for (kind, value) in [
            (Kind::Bytes { min: 1 }, "0"),
            (Kind::Bytes { min: 0 }, "64MB"),
            (Kind::Bytes { min: 0 }, "99999999999TiB"),
            (Kind::Millis { min: 0 }, "-1"),
            (Kind::Int { min: 0, max: 9 }, "10"),
            (Kind::Bool, "yes"),
            (Kind::Word(&["a", "b"]), "c"),
        ] {
            let message = kind.parse(value).unwrap_err();
            assert!(message.starts_with("must be "), "{message}");
        }
    }
}
