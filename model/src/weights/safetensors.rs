//! Safetensors: named tensors in one file.
//!
//! Invariant: what is read was checked against the file's length, has unique names and no gaps; what is written is read
//! by every implementation (sorted, aligned, `format: pt`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use safetensors::{Dtype, SafeTensors};
use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

/// Bytes of the number that begins a file.
const PREFIX: usize = 8;

/// One tensor inside a file's bytes.
pub(crate) struct Entry<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    kind: Option<Kind>,
    dtype: Dtype,
    data: &'a [u8],
}

impl Entry<'_> {
    /// The tensor, in the kind of the file.
    pub(crate) fn tensor(&self) -> Result<Tensor, ModelError> {
        let kind = self.kind.ok_or_else(|| {
            let reason = format!("has the type {:?}, which is not read; give F32, F16 or BF16", self.dtype);
            ModelError::Invalid(format!("the tensor '{}' {reason}", self.name))
        })?;
        // The header's check ties data length to shape and type; libtorch would read as many bytes unchecked.
        let needed = self.shape.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
        if self.data.len() != needed {
            let reason = format!("has {} bytes, but its shape needs {needed}", self.data.len());
            return Err(ModelError::Invalid(format!("the tensor '{}' {reason}", self.name)));
        }
        Ok(Tensor::f_from_data_size(self.data, &self.shape, kind)?)
    }
}

/// The tensors of a file in the order of their data; `file` names it in errors.
pub(crate) fn entries<'a>(bytes: &'a [u8], file: &str) -> Result<Vec<Entry<'a>>, ModelError> {
    let parsed = SafeTensors::deserialize(bytes).map_err(|error| ModelError::malformed(file, error))?;
    let header = u64::from_le_bytes(bytes[..PREFIX].try_into().expect("deserialize has checked the length")) as usize;
    // serde_json lets the last of two equal keys win, silently.
    let mut reader = serde_json::Deserializer::from_slice(&bytes[PREFIX..PREFIX + header]);
    reader.deserialize_map(UniqueKeys).map_err(|error| ModelError::malformed(file, error))?;
    let mut entries = Vec::with_capacity(parsed.len());
    for (name, view) in parsed.iter() {
        let kind = match view.dtype() {
            Dtype::F64 => Some(Kind::Double),
            Dtype::F32 => Some(Kind::Float),
            Dtype::F16 => Some(Kind::Half),
            Dtype::BF16 => Some(Kind::BFloat16),
            Dtype::I64 => Some(Kind::Int64),
            Dtype::I32 => Some(Kind::Int),
            Dtype::U8 => Some(Kind::Uint8),
            _ => None,
        };
        let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
        entries.push(Entry { name: name.to_owned(), shape, kind, dtype: view.dtype(), data: view.data() });
    }
    entries.sort_by_key(|entry| entry.data.as_ptr() as usize);
    Ok(entries)
}

struct UniqueKeys;

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format!("the name '{key}' stands twice in the header")));
            }
            seen.insert(key);
        }
        Ok(())
    }
}

/// Tensors out of the bytes of a safetensors file, each in the kind it was stored in.
pub fn tensors_from_bytes(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let entries = entries(bytes, "safetensors data")?;
    entries.into_iter().map(|entry| Ok((entry.name.clone(), entry.tensor()?))).collect()
}

/// The bytes of a safetensors file holding `tensors`.
pub fn tensors_to_bytes<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<u8>, ModelError> {
    let mut bytes = Vec::new();
    write(&mut bytes, tensors)?.map_err(|error| ModelError::Invalid(format!("cannot collect tensors: {error}")))?;
    Ok(bytes)
}

/// Writes a safetensors file, one tensor in memory at a time. The outer error is the tensors', the inner the writer's.
pub(crate) fn write<'a>(
    mut writer: impl Write,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<std::io::Result<()>, ModelError> {
    let mut rows = Vec::new();
    for (name, tensor) in tensors {
        let kind = tensor.f_kind()?;
        let word = match kind {
            Kind::Double => "F64",
            Kind::Float => "F32",
            Kind::Half => "F16",
            Kind::BFloat16 => "BF16",
            Kind::Int64 => "I64",
            Kind::Int => "I32",
            Kind::Uint8 => "U8",
            other => return Err(ModelError::Invalid(format!("the tensor '{name}' is {other:?}: it cannot be stored"))),
        };
        rows.push((name, tensor, kind.elt_size_in_bytes(), word));
    }
    // Wide types first, so that every tensor is aligned to its own size.
    rows.sort_by_key(|(name, _, width, _)| (std::cmp::Reverse(*width), *name));
    if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(ModelError::Invalid(format!("the tensor '{}' was given twice", pair[0].0)));
    }
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut offset = 0;
    for (name, tensor, width, word) in &rows {
        let end = offset + tensor.numel() * width;
        let row = json!({ "dtype": word, "shape": tensor.size(), "data_offsets": [offset, end] });
        header.insert((*name).to_owned(), row);
        offset = end;
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(PREFIX), b' ');
    let mut put = |bytes: &[u8]| writer.write_all(bytes);
    if let Err(error) = put(&(header.len() as u64).to_le_bytes()).and_then(|()| put(&header)) {
        return Ok(Err(error));
    }
    for (_, tensor, width, _) in rows {
        let mut bytes = vec![0; tensor.numel() * width];
        let plain = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
        plain.f_copy_data_u8(&mut bytes, tensor.numel())?;
        if let Err(error) = put(&bytes) {
            return Ok(Err(error));
        }
    }
    Ok(writer.flush())
}
