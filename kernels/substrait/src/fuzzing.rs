//! What must hold of any bytes.

use std::sync::LazyLock;

use arrow_schema::DataType;
use unlade_expr::{Payload, Semantics, Signature, Signatures, check_staged, lower};

use crate::import_with;

/// Functions that a message may call: such as it may well name.
static FUNCTIONS: LazyLock<Signatures> = LazyLock::new(|| {
    let mut known = Signatures::default();
    for name in ["upper", "sqrt", "f"] {
        let signature = Signature::new(name, [DataType::Int64], DataType::Int64);
        known
            .insert(signature.expect("it is one"))
            .expect("no other has the name");
    }
    known
});

/// Bytes are refused, or read as expressions that can be printed, asked for their rules, and lowered.
///
/// # Panics
/// Where that does not hold.
pub fn read(bytes: &[u8]) {
    let Ok(imported) = import_with(bytes, &FUNCTIONS) else {
        return;
    };
    for named in &imported.expressions {
        assert!(!named.expr.to_string().is_empty(), "{named:?}");
    }
    let Ok(request) = imported.request(imported.projection(), &Semantics::arrow()) else {
        return;
    };
    if let Ok(staged) = check_staged(&request.query, &request.input, &request.semantics) {
        let _either_is_fine = lower(&staged.checked, Payload::Late);
    }
}
