//! What must hold of any bytes.

use unlade_expr::{Payload, check, lower};

use crate::envelope::{HEADER, Kind, seal};
use crate::{
    KernelRequest, decode_expr, decode_kernel, decode_query, encode_expr, encode_kernel,
    encode_query,
};

/// Bytes, as they are, and as the body of each kind with the header that it should have: they are
/// refused, or are what is written again for what they are read as. What they are read as can be
/// printed, checked and lowered.
///
/// # Panics
/// Where that does not hold.
pub fn read(bytes: &[u8]) {
    decode(bytes);
    let body = bytes.get(HEADER..).filter(|_| bytes.starts_with(b"UNLW"));
    for kind in Kind::ALL {
        if let Ok(sealed) = seal(kind, body.unwrap_or(bytes)) {
            decode(&sealed);
        }
    }
}

fn decode(bytes: &[u8]) {
    if let Ok(expr) = decode_expr(bytes) {
        assert_eq!(encode_expr(&expr).as_deref(), Ok(bytes), "{expr}");
    }
    if let Ok(query) = decode_query(bytes) {
        assert_eq!(encode_query(&query).as_deref(), Ok(bytes), "{query:?}");
    }
    if let Ok(request) = decode_kernel(bytes) {
        assert_eq!(encode_kernel(&request).as_deref(), Ok(bytes), "{request:?}");
        compile(&request);
    }
}

/// As far as that goes without a device.
fn compile(request: &KernelRequest) {
    let KernelRequest {
        query,
        input,
        semantics,
    } = request;
    if let Ok(checked) = check(query, input, semantics) {
        let _either_is_fine = lower(&checked, Payload::Late);
    }
}
