//! Programs that the device knows: an equal one is found, and no other.

use std::sync::Arc;

use unlade_hal::Device;
use unlade_program::Program;

fn program(line: &str) -> Arc<Program> {
    let text = format!(
        "columns c0: i32, c1: f64\nparams p0: i32\n%0 = load c0\n%1 = load c1\n%2 = param p0\n\
         {line}\nkeep %3\nemit mask\n"
    );
    Arc::new(text.parse().unwrap_or_else(|error| panic!("{text}{error}")))
}

#[test]
fn what_is_found_was_made_of_an_equal_program() {
    unlade_cuda::simulate().expect("the simulated driver is beside the test");
    let device = unlade_cuda::open(0).expect("a simulated GPU");
    // Neighbours differ in as little as there is.
    let lines = [
        "%3 = cmp.gt %0, %2",
        "%3 = cmp.ge %0, %2",
        "%3 = cmp.gt %2, %0",
        "%3 = cmp.gt %0, %0",
        "%3 = cmp.gt %1, %1",
        "%3 = cmp.gt.total %1, %1",
        "%3 = cmp.gt.spark %1, %1",
        "%3 = const mask true",
        "%3 = const mask false",
    ];
    let compiled: Vec<_> = lines
        .iter()
        .map(|line| device.compile(&program(line)).expect("it compiles"))
        .collect();
    for (line, first) in lines.iter().zip(&compiled) {
        // Parsed again, so that it is an equal program and not the same one.
        let again = program(line);
        let found = device.compile(&again).expect("it is known");
        assert_eq!(found.program(), &again);
        assert!(
            Arc::ptr_eq(found.program(), first.program()),
            "{line}: made again"
        );
    }
}
