//! What must hold of any bytes.

use unlade_expr::{Payload, Semantics, check, lower};

use crate::import;

/// Bytes are refused, or read as expressions that can be printed, asked for their rules, and lowered.
///
/// # Panics
/// Where that does not hold.
pub fn read(bytes: &[u8]) {
    let Ok(imported) = import(bytes) else {
        return;
    };
    for named in &imported.expressions {
        assert!(!named.expr.to_string().is_empty(), "{named:?}");
    }
    let Ok(request) = imported.request(imported.projection(), &Semantics::arrow()) else {
        return;
    };
    if let Ok(checked) = check(&request.query, &request.input, &request.semantics) {
        let _either_is_fine = lower(&checked, Payload::Late);
    }
}
