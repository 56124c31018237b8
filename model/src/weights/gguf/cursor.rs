//! Reading little-endian values from bytes that may end anywhere.
//!
//! Invariant: every read is checked against what is left; no length from the file is allocated before it is.

use super::header::{Type, Value};

/// Longest text in a header: chat templates are the longest, and far below.
const MAX_TEXT: u64 = 1 << 20;

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        if count > self.left() {
            return Err(format!("it ends at byte {}, inside a value that needs {count} bytes", self.bytes.len()));
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("take gives as many bytes as it was asked for"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, String> {
        let length = self.u64()?;
        if length > MAX_TEXT {
            return Err(format!("a text of {length} bytes at byte {} exceeds {MAX_TEXT}", self.at));
        }
        let start = self.at;
        let bytes = self.take(length as usize)?;
        std::str::from_utf8(bytes).map_err(|_| format!("the text at byte {start} is not UTF-8"))
    }

    pub(super) fn value(&mut self, kind: Type) -> Result<Value<'a>, String> {
        Ok(match kind {
            Type::U8 => Value::Integer(i128::from(self.array::<1>()?[0])),
            Type::I8 => Value::Integer(i128::from(self.array::<1>()?[0] as i8)),
            Type::U16 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            Type::I16 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            Type::U32 => Value::Integer(self.u32()?.into()),
            Type::I32 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            Type::U64 => Value::Integer(self.u64()?.into()),
            Type::I64 => Value::Integer(i64::from_le_bytes(self.array()?).into()),
            Type::F32 => Value::Number(shortest(f32::from_le_bytes(self.array()?))),
            Type::F64 => Value::Number(f64::from_le_bytes(self.array()?)),
            Type::Bool => match self.array::<1>()?[0] {
                0 => Value::Flag(false),
                1 => Value::Flag(true),
                other => return Err(format!("a flag at byte {} is {other}", self.at - 1)),
            },
            Type::Text => Value::Text(self.text()?),
            Type::Array => {
                let (element, count) = (Type::of(self.u32()?)?, self.u64()?);
                let bytes = self.elements(element, count)?;
                Value::Array { element, count: count as usize, bytes }
            }
        })
    }

    /// The bytes of an array's elements, every one of which has been looked at.
    fn elements(&mut self, element: Type, count: u64) -> Result<&'a [u8], String> {
        let start = self.at;
        match element.width() {
            Some(width) => {
                let length = count.checked_mul(width).filter(|length| *length <= self.left() as u64);
                let length = length.ok_or_else(|| format!("an array at byte {start} has {count} elements"))?;
                self.take(length as usize)?;
            }
            None if element == Type::Text => {
                for _ in 0..count {
                    self.text()?; // an empty text takes 8 bytes, so a lying count ends at the file's end
                }
            }
            None => return Err(format!("the array at byte {start} holds arrays")),
        }
        Ok(&self.bytes[start..self.at])
    }
}

/// The f64 of the same shortest decimal: 1e-5 written as f32 is meant as 1e-5.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
