//! The header of a GGUF file: metadata and the table of tensors.
//!
//! Invariant: after [`Header::parse`] every tensor's data lies inside the file, they follow each other without overlap or
//! gap, and names are unique.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::dequantise::Format;
use crate::error::ModelError;

const MAX_ENTRIES: u64 = 1 << 16;
const MAX_ALIGNMENT: u64 = 1 << 20;
const MAX_DIMENSIONS: u32 = 4;

/// The type of a metadata value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Type {
    pub(super) fn of(code: u32) -> Result<Self, String> {
        use Type::*;
        const ALL: [Type; 13] = [U8, I8, U16, I16, U32, I32, F32, Bool, Text, Array, U64, I64, F64];
        ALL.get(code as usize).copied().ok_or_else(|| format!("{code} is no type of metadata"))
    }

    /// Bytes of a value, where all have the same.
    pub(super) fn width(self) -> Option<u64> {
        use Type::*;
        match self {
            U8 | I8 | Bool => Some(1),
            U16 | I16 => Some(2),
            U32 | I32 | F32 => Some(4),
            U64 | I64 | F64 => Some(8),
            Text | Array => None,
        }
    }
}

/// A metadata value; arrays stay in the file until someone asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Integer(i128),
    Number(f64),
    Flag(bool),
    Text(&'a str),
    Array { element: Type, count: usize, bytes: &'a [u8] },
}

/// A tensor in the file.
#[derive(Debug, Clone)]
pub(super) struct TensorInfo<'a> {
    pub(super) name: &'a str,
    /// As torch has it: the file's dimensions reversed.
    pub(super) shape: Vec<i64>,
    pub(super) format: Format,
    pub(super) data: &'a [u8],
}

pub(super) struct Header<'a> {
    file: String,
    metadata: BTreeMap<&'a str, Value<'a>>,
    tensors: Vec<TensorInfo<'a>>,
}

impl<'a> Header<'a> {
    /// Reads the header of `bytes`, the whole file; `file` names it in errors.
    pub(super) fn parse(bytes: &'a [u8], file: &str) -> Result<Self, ModelError> {
        let parsed = Self::read(bytes, file);
        parsed.map_err(|reason| ModelError::malformed(file, reason))
    }

    fn read(bytes: &'a [u8], file: &str) -> Result<Self, String> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(4)? != b"GGUF" {
            return Err("it does not begin with 'GGUF'".into());
        }
        match cursor.u32()? {
            2 | 3 => (),
            version if version.swap_bytes() <= 3 => return Err("it is big-endian; give a little-endian file".into()),
            version => return Err(format!("its GGUF version is {version}; 2 and 3 are read")),
        }
        let (tensor_count, value_count) = (cursor.u64()?, cursor.u64()?);
        if tensor_count > MAX_ENTRIES || value_count > MAX_ENTRIES {
            return Err(format!(
                "it claims {tensor_count} tensors and {value_count} metadata values; {MAX_ENTRIES} is the most"
            ));
        }
        let mut metadata = BTreeMap::new();
        for _ in 0..value_count {
            let key = cursor.text()?;
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(format!("the key {key:?} holds more than letters, digits and signs: its length is wrong"));
            }
            let kind = Type::of(cursor.u32()?).map_err(|reason| format!("{key}: {reason}"))?;
            let value = cursor.value(kind).map_err(|reason| format!("{key}: {reason}"))?;
            if metadata.insert(key, value).is_some() {
                return Err(format!("the key '{key}' stands twice"));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(Value::Integer(alignment)) if (1..=i128::from(MAX_ALIGNMENT)).contains(alignment) => *alignment as u64,
            Some(other) => return Err(format!("general.alignment is {other:?}")),
        };
        if !alignment.is_power_of_two() {
            return Err(format!("general.alignment is {alignment}, which is no power of two"));
        }
        let mut rows = Vec::new();
        for _ in 0..tensor_count {
            rows.push(Row::read(&mut cursor)?);
        }
        let start = (cursor.position() as u64).next_multiple_of(alignment);
        let data = usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
        let tensors = Self::place(rows, data, alignment)?;
        Ok(Self { file: file.to_owned(), metadata, tensors })
    }

    fn place(mut rows: Vec<Row<'a>>, data: &'a [u8], alignment: u64) -> Result<Vec<TensorInfo<'a>>, String> {
        let mut names = std::collections::BTreeSet::new();
        for Row { name, offset, length, .. } in &rows {
            if !names.insert(*name) {
                return Err(format!("the tensor '{name}' stands twice"));
            }
            if !offset.is_multiple_of(alignment) {
                return Err(format!("the tensor '{name}' begins at {offset}, which is not aligned to {alignment}"));
            }
            if offset.checked_add(*length).is_none_or(|end| end > data.len() as u64) {
                return Err(format!(
                    "the tensor '{name}' of {length} bytes at {offset} does not fit the {} bytes of data: \
                         the file is cut short",
                    data.len()
                ));
            }
        }
        rows.sort_by_key(|row| row.offset);
        let mut free = 0; // offset of the first byte that no earlier tensor owns
        let mut tensors = Vec::with_capacity(rows.len());
        for Row { name, shape, format, offset, length } in rows {
            if offset < free {
                return Err(format!("the tensor '{name}' overlaps the one before it"));
            }
            // Without gaps, a wrong format or size of one tensor cannot go unseen.
            if offset != free.next_multiple_of(alignment) {
                return Err(format!("bytes {free} to {offset} of the data, before '{name}', belong to no tensor"));
            }
            // Padding is zero, and anything else is the rest of a tensor whose format is wrong.
            if data[free as usize..offset as usize].iter().any(|byte| *byte != 0) {
                return Err(format!("bytes {free} to {offset} of the data, before '{name}', are no padding"));
            }
            free = offset + length;
            tensors.push(TensorInfo { name, shape, format, data: &data[offset as usize..free as usize] });
        }
        if data.len() as u64 > free.next_multiple_of(alignment) {
            return Err(format!("{} bytes follow the last tensor", data.len() as u64 - free));
        }
        Ok(tensors)
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn tensors(&self) -> &[TensorInfo<'a>] {
        &self.tensors
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&TensorInfo<'a>> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn wrong(&self, key: &str, wanted: &str) -> ModelError {
        ModelError::malformed(&self.file, format!("the metadata value '{key}' is not {wanted}"))
    }

    /// The error that `key` is absent.
    pub(super) fn absent(&self, key: &str) -> ModelError {
        ModelError::malformed(&self.file, format!("the metadata value '{key}' is absent"))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, ModelError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Integer(value)) => {
                i64::try_from(*value).map(Some).map_err(|_| self.wrong(key, "within 64 signed bits"))
            }
            Some(_) => Err(self.wrong(key, "a whole number")),
        }
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.metadata.get(key) {
            None => Ok(None),
            // JSON has no word for the others: they would read as absent.
            Some(Value::Number(value)) if value.is_finite() => Ok(Some(*value)),
            Some(Value::Integer(value)) => Ok(Some(*value as f64)),
            Some(_) => Err(self.wrong(key, "a finite number")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ModelError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Flag(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// The texts of an array.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, ModelError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Array { element: Type::Text, count, bytes }) => {
                let mut cursor = Cursor::new(bytes);
                let texts: Result<Vec<_>, String> = (0..*count).map(|_| cursor.text()).collect();
                texts.map(Some).map_err(|reason| ModelError::malformed(&self.file, reason))
            }
            Some(_) => Err(self.wrong(key, "a list of texts")),
        }
    }

    /// The numbers of an array.
    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, ModelError> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let Value::Array { element, count, bytes } = value else { return Err(self.wrong(key, "a list")) };
        let mut cursor = Cursor::new(bytes);
        let mut numbers = Vec::with_capacity(*count);
        for _ in 0..*count {
            match cursor.value(*element) {
                Ok(Value::Integer(value)) => numbers.push(value as f64),
                Ok(Value::Number(value)) => numbers.push(value),
                _ => return Err(self.wrong(key, "a list of numbers")),
            }
        }
        Ok(Some(numbers))
    }
}

/// A line of the table of tensors, not yet placed.
struct Row<'a> {
    name: &'a str,
    shape: Vec<i64>,
    format: Format,
    offset: u64,
    length: u64,
}

impl<'a> Row<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, String> {
        let name = cursor.text()?;
        let dimensions = cursor.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(format!("the tensor '{name}' has {dimensions} dimensions"));
        }
        let mut shape = Vec::new();
        let mut elements = 1u64;
        for _ in 0..dimensions {
            let size = cursor.u64()?;
            let product = elements.checked_mul(size).filter(|product| (1..=i64::MAX as u64 / 8).contains(product));
            elements = product.ok_or_else(|| format!("the tensor '{name}' has an impossible size, {size}"))?;
            shape.push(size as i64);
        }
        let format = Format::of(cursor.u32()?).map_err(|reason| format!("the tensor '{name}' {reason}"))?;
        let offset = cursor.u64()?;
        let (block, bytes) = format.block();
        if !(shape[0] as u64).is_multiple_of(block) {
            return Err(format!("the rows of '{name}', {} wide, are no whole number of blocks", shape[0]));
        }
        shape.reverse();
        Ok(Self { name, shape, format, offset, length: elements / block * bytes })
    }
}
