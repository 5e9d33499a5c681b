//! What must hold of any bytes.

use std::sync::LazyLock;

use arrow_schema::DataType;
use unlade_expr::{Payload, Signature, Signatures, check_staged, lower};

use crate::envelope::{FIRST_VERSION, HEADER, Kind, VERSION, seal};
use crate::{
    KernelRequest, decode_expr_with, decode_kernel_with, decode_query_with, encode_expr,
    encode_kernel, encode_query,
};

/// Functions that bytes may call.
static FUNCTIONS: LazyLock<Signatures> = LazyLock::new(|| {
    let mut known = Signatures::default();
    for (name, taken) in [("f", vec![DataType::Int64]), ("g", vec![DataType::Utf8; 2])] {
        let result = taken[0].clone();
        let signature = Signature::new(name, taken, result).expect("it is one");
        known.insert(signature).expect("no other has the name");
    }
    known
});

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
        for version in FIRST_VERSION..=VERSION {
            if let Ok(sealed) = seal(kind, version, body.unwrap_or(bytes)) {
                decode(&sealed);
            }
        }
    }
}

fn decode(bytes: &[u8]) {
    if let Ok(expr) = decode_expr_with(bytes, &FUNCTIONS) {
        assert_eq!(encode_expr(&expr).as_deref(), Ok(bytes), "{expr}");
    }
    if let Ok(query) = decode_query_with(bytes, &FUNCTIONS) {
        assert_eq!(encode_query(&query).as_deref(), Ok(bytes), "{query:?}");
    }
    if let Ok(request) = decode_kernel_with(bytes, &FUNCTIONS) {
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
    if let Ok(staged) = check_staged(query, input, semantics) {
        let arguments = staged.stages.iter().map(|stage| &stage.arguments);
        for checked in arguments.chain([&staged.checked]) {
            let _either_is_fine = lower(checked, Payload::Late);
        }
    }
}
