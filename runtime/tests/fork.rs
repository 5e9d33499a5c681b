//! A runtime that was made before a fork says so in the child, whatever it is asked for.
#![cfg(not(miri))]

mod common;

use std::sync::Arc;

use arrow_array::{Int32Array, RecordBatchIterator};
use common::{batch, builder, compile, query, runtime};
use unlade_expr::Semantics;
use unlade_runtime::Error;

#[test]
fn a_runtime_in_a_forked_child_is_refused() {
    let runtime = runtime();
    let rows = batch(vec![("a", Arc::new(Int32Array::from(vec![1, 2, 3])))]);
    let wanted = query("", "a > 1");
    let kernel = compile(&runtime, &wanted, &rows.schema());
    kernel.run(&rows).unwrap();

    // SAFETY: The child calls what a user would, of which none waits for one of the threads that
    // the fork left behind: a lock that these held would let the test time out. Then it ends.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        let reader = RecordBatchIterator::new([Ok(rows.clone())], rows.schema());
        let compiled = runtime.compile(&wanted, &rows.schema(), &Semantics::arrow());
        let answers = [
            kernel.run(&rows).err(),
            kernel.submit(rows.clone()).err(),
            kernel.stream(reader).next().and_then(Result::err),
            compiled.err(),
            runtime.pin(&[rows], None).err(),
            builder().build().err(),
        ];
        let refused = |answer: &Option<Error>| matches!(answer, Some(Error::Forked(_)));
        // Which one is not refused, from 1 on.
        let wrong = answers.iter().position(|answer| !refused(answer));
        let status = wrong.map_or(0, |position| position as i32 + 1);
        // SAFETY: Ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(status) };
    }

    let mut status = 0;
    // SAFETY: Waits for our own child; `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the child died: status {status}");
    assert_eq!(
        libc::WEXITSTATUS(status),
        0,
        "the call of this number is not refused"
    );
    kernel.run(&rows).expect("the parent is no child");
}
