//! One record of an event file: a protocol buffer `Event` in the frame of a TFRecord.
//!
//! Invariant: pure; bytes follow from the arguments. Field numbers are those of TensorFlow's event.proto and summary.proto;
//! the frame is length (u64), masked CRC-32C of the length, data, masked CRC-32C of the data, all little-endian.

/// What the first record of every file says.
pub const FILE_VERSION: &str = "brain.Event:2";

/// What an event holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What<'a> {
    /// The first record of a file.
    FileVersion,
    /// A start: points at this step or after it, of an earlier life, are void.
    Start,
    /// One value each under its tag.
    Scalars(&'a [(&'a str, f64)]),
}

/// The record of an event at `t_ms` milliseconds since the Unix epoch.
pub fn record(t_ms: i64, step: u64, what: What<'_>) -> Vec<u8> {
    let mut event = Vec::new();
    fixed64(&mut event, 1, t_ms as f64 / 1000.0);
    varint_field(&mut event, 2, step);
    match what {
        What::FileVersion => bytes_field(&mut event, 3, FILE_VERSION.as_bytes()),
        What::Start => {
            let mut session = Vec::new();
            varint_field(&mut session, 1, 1); // SessionLog.START
            bytes_field(&mut event, 7, &session);
        }
        What::Scalars(values) => {
            let mut summary = Vec::new();
            for (tag, value) in values {
                let mut one = Vec::new();
                bytes_field(&mut one, 1, tag.as_bytes());
                key(&mut one, 2, 5);
                one.extend((*value as f32).to_le_bytes());
                bytes_field(&mut summary, 1, &one);
            }
            bytes_field(&mut event, 5, &summary);
        }
    }
    framed(&event)
}

/// `data` in a TFRecord's frame.
pub fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked(crc32c::crc32c(&length)).to_le_bytes());
    record.extend(data);
    record.extend(masked(crc32c::crc32c(data)).to_le_bytes());
    record
}

/// A checksum as TFRecord stores it: rotated and shifted, so that the checksum of data that holds checksums is none of them.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xA282_EAD8)
}

fn key(into: &mut Vec<u8>, field: u64, wire: u64) {
    varint(into, field << 3 | wire);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn varint_field(into: &mut Vec<u8>, field: u64, value: u64) {
    key(into, field, 0);
    varint(into, value);
}

fn fixed64(into: &mut Vec<u8>, field: u64, value: f64) {
    key(into, field, 1);
    into.extend(value.to_le_bytes());
}

fn bytes_field(into: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(into, field, 2);
    varint(into, bytes.len() as u64);
    into.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one_and_its_mask_that_of_tfrecord() {
        // The check value of CRC-32C in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
        // 0xE3069283 turned right by 15 bits is 0x2507C60D; added to 0xA282EAD8 that is 0xC78AB0E5.
        assert_eq!(masked(0xE306_9283), 0xC78A_B0E5);
    }

    #[test]
    fn a_frame_is_length_checksum_data_checksum() {
        let frame = framed(b"123456789");
        let (length, rest) = frame.split_at(8);
        assert_eq!(length, [9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(rest[..4], masked(crc32c::crc32c(length)).to_le_bytes());
        assert_eq!(&rest[4..13], b"123456789");
        assert_eq!(rest[13..], 0xC78A_B0E5u32.to_le_bytes());
    }

    /// What stands between the checksums.
    fn body(record: &[u8]) -> &[u8] {
        &record[12..record.len() - 4]
    }

    #[test]
    fn events_are_these_bytes() {
        // 1.5 s is 0x3FF8 in the upper bytes of a double; step 300 is AC 02; 0.5 is 0x3F000000.
        let scalars = record(1500, 300, What::Scalars(&[("kl", 0.5)]));
        let wanted = [
            [0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F].as_slice(),
            &[0x10, 0xAC, 0x02],
            &[0x2A, 11, 0x0A, 9, 0x0A, 2, b'k', b'l', 0x15, 0, 0, 0, 0x3F],
        ]
        .concat();
        assert_eq!(body(&scalars), wanted);
        let version = record(0, 0, What::FileVersion);
        assert_eq!(body(&version)[11..], [&[0x1A, 13], FILE_VERSION.as_bytes()].concat());
        let start = record(0, 0, What::Start);
        assert_eq!(body(&start)[11..], [0x3A, 2, 0x08, 1]);
    }
}
