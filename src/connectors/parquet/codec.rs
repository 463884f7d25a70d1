//! Decompression of pages into buffers that are reused: Snappy by our own decoder, the other codecs by the stock crates.

use parquet::{
    basic::Compression,
    compression::{Codec, CodecOptionsBuilder, create_codec},
};

use super::{
    chunk_bytes::PADDING,
    fault::{Decoded, Fault, corrupt},
    snappy,
};

/// The largest page that is decompressed; sizes come from untrusted headers.
const PAGE_BYTES_MAX: usize = 1 << 30;

/// A decompressor for one codec.
pub enum Decompressor {
    /// Stored as is.
    None,
    /// Our own.
    Snappy,
    /// From the stock crates.
    Stock(Box<dyn Codec>),
}

impl Decompressor {
    /// The decompressor for a column chunk's codec.
    pub fn new(compression: Compression) -> Decoded<Self> {
        match compression {
            Compression::UNCOMPRESSED => Ok(Decompressor::None),
            Compression::SNAPPY => Ok(Decompressor::Snappy),
            other => {
                let options = CodecOptionsBuilder::default().set_backward_compatible_lz4(true).build();
                let codec = create_codec(other, &options).map_err(|error| Fault::Unsupported(error.to_string()))?;
                Ok(codec.map_or(Decompressor::None, Decompressor::Stock))
            }
        }
    }

    /// Makes `output` exactly `size` bytes of content plus [`PADDING`]. `input` carries [`PADDING`] bytes behind its content, too.
    pub fn decompress(&mut self, input: &[u8], size: usize, output: &mut Vec<u8>) -> Decoded<()> {
        let input_bytes = input.len() - PADDING;
        if size > PAGE_BYTES_MAX {
            return corrupt("a page is larger than 1 GB");
        }
        match self {
            Decompressor::None => {
                if input_bytes != size {
                    return corrupt("an uncompressed page has two sizes");
                }
                output.clear();
                output.extend_from_slice(input);
            }
            Decompressor::Snappy => snappy::decompress(input, input_bytes, size, output)?,
            Decompressor::Stock(codec) => {
                output.clear();
                let written = codec.decompress(&input[..input_bytes], output, Some(size))?;
                if written != size || output.len() != size {
                    return corrupt("a page decompresses to another size than its header says");
                }
                output.resize(size + PADDING, 0);
            }
        }
        Ok(())
    }
}
