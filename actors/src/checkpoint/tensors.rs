//! A learner's tensors as the bytes of one safetensors file, and back.
//!
//! Invariant: a round trip loses no bit. Names and shapes are checked by the learner that restores them.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use tch::{Kind, Tensor};

/// Why tensors could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TensorsError {
    /// A kind of number that no learner uses.
    #[error("tensor {name:?} holds {kind}; checkpoints keep 32- and 64-bit floats and 64-bit integers")]
    Kind {
        /// Which tensor.
        name: String,
        /// What it holds.
        kind: String,
    },
    /// The file's structure.
    #[error("the tensors' file: {0}; use an older checkpoint")]
    Format(#[from] SafeTensorError),
    /// libtorch refused.
    #[error("tensor {name:?}: {error}")]
    Torch {
        /// Which tensor.
        name: String,
        /// Its words.
        error: tch::TchError,
    },
}

fn dtype(name: &str, kind: Kind) -> Result<Dtype, TensorsError> {
    match kind {
        Kind::Float => Ok(Dtype::F32),
        Kind::Double => Ok(Dtype::F64),
        Kind::Int64 => Ok(Dtype::I64),
        other => Err(TensorsError::Kind { name: name.to_owned(), kind: format!("{other:?}") }),
    }
}

fn kind(name: &str, dtype: Dtype) -> Result<Kind, TensorsError> {
    match dtype {
        Dtype::F32 => Ok(Kind::Float),
        Dtype::F64 => Ok(Kind::Double),
        Dtype::I64 => Ok(Kind::Int64),
        other => Err(TensorsError::Kind { name: name.to_owned(), kind: format!("{other:?}") }),
    }
}

/// The bytes of `tensors`, little endian.
pub fn encode(tensors: &[(String, Tensor)]) -> Result<Vec<u8>, TensorsError> {
    let mut parts = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let torch = |error| TensorsError::Torch { name: name.clone(), error };
        let dtype = dtype(name, tensor.kind())?;
        let tensor = tensor.detach().to_device(tch::Device::Cpu).f_contiguous().map_err(torch)?;
        let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(torch)?;
        let shape: Vec<usize> = tensor.size().iter().map(|&length| length as usize).collect();
        parts.push((name, dtype, shape, bytes));
    }
    let views: Result<Vec<_>, SafeTensorError> = parts
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect();
    Ok(safetensors::serialize(views?, None)?)
}

/// The tensors of bytes that [`encode`] wrote, by name in alphabetical order.
pub fn decode(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, TensorsError> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        let kind = kind(name, view.dtype())?;
        let shape: Vec<i64> = view.shape().iter().map(|&length| length as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)
            .map_err(|error| TensorsError::Torch { name: name.to_owned(), error })?;
        tensors.push((name.to_owned(), tensor));
    }
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_loses_no_bit() {
        let odd = [f32::MIN_POSITIVE / 2.0, -0.0, 1.0 / 3.0, f32::MAX];
        let tensors = vec![
            ("weights".to_owned(), Tensor::from_slice(&odd).view([2, 2])),
            ("moments".to_owned(), Tensor::from_slice(&[0.1f64 + 0.2])),
            ("counts".to_owned(), Tensor::from_slice(&[i64::MAX, -1])),
            ("scalar".to_owned(), Tensor::from(2.5f32)),
        ];
        let back = decode(&encode(&tensors).unwrap()).unwrap();
        assert_eq!(back.len(), tensors.len());
        for (name, tensor) in &tensors {
            let (_, read) = back.iter().find(|(other, _)| other == name).unwrap();
            assert_eq!((read.size(), read.kind()), (tensor.size(), tensor.kind()), "{name}");
            let bits = |t: &Tensor| {
                let mut bytes = vec![0u8; t.numel() * t.kind().elt_size_in_bytes()];
                t.copy_data_u8(&mut bytes, t.numel());
                bytes
            };
            assert_eq!(bits(read), bits(tensor), "{name}");
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_and_no_panic() {
        let bytes = encode(&[("w".to_owned(), Tensor::from_slice(&[1f32, 2.0]))]).unwrap();
        for end in [0, 7, 9, bytes.len() - 1] {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
