//! The executions of docs/card/vectors.toml: each program compiled, each job made by the driver, run on
//! a model of a card, and what came of it compared.
#![allow(clippy::print_stdout)] // how many were run is what this test reports

mod common;
#[path = "../../../sim/card/tests/card/vectors/document.rs"]
mod document;
#[path = "executions/kinds.rs"]
mod kinds;
#[path = "../../../kernels/card/tests/bytecode/programs.rs"]
#[allow(dead_code)] // those of the vectors are used
mod programs;

use std::sync::Arc;

use common::*;
use document::{Vector, named, parse_hex, vectors};
use unlade_dpu::{DpuDevice, Options, connect};
use unlade_hal::{Arg, Command, CommandList, Device, MemoryKind, Outcome, Slot, SlotId, Status};
use unlade_program::{Program, Trap};
use unlade_sim_card::Config;

#[test]
fn every_vector_is_read() {
    let card = Model::start(Config::default());
    let mut options = Options::default();
    // The driver computes those of each output itself, and compares.
    options.checksums = true;
    let device = connect(card.path(), &options).unwrap_or_else(|error| panic!("{error}"));
    let vectors = vectors();
    for kind in kinds::READ {
        let of_kind = vectors.iter().filter(|vector| vector.kind == kind);
        let mut read = 0;
        for vector in of_kind {
            // A failure that names no vector is that of the last one named.
            println!("{}", vector.name);
            match kind {
                "execution" => Execution::of(vector, &vectors, &device).run(&device),
                other => panic!("nobody runs vectors of the kind {other}"),
            }
            read += 1;
        }
        println!("the driver runs {read} vectors of the kind {kind}");
        assert!(read > 0, "no vectors of the kind {kind}");
    }
    assert_eq!(card.counters().findings, [""; 0]);
}

/// A vector as a list.
struct Execution<'a> {
    vector: &'a Vector,
    program: Arc<Program>,
    rows: u64,
    list: CommandList,
    args: Vec<Arg>,
    /// Which slot is to hold what.
    wanted: Vec<(SlotId, Vec<u8>)>,
}

impl<'a> Execution<'a> {
    fn of(vector: &'a Vector, vectors: &[Vector], device: &DpuDevice) -> Self {
        let name = vector.text("program").unwrap();
        let (_, text) = programs::VECTORS
            .into_iter()
            .find(|(known, _)| *known == name)
            .unwrap();
        let program = Arc::new(programs::parse(text));
        let mut execution = Execution {
            vector,
            rows: vector.number("rows").try_into().unwrap(),
            list: CommandList::new(),
            args: Vec::new(),
            wanted: Vec::new(),
            program: Arc::clone(&program),
        };
        let bytecode = named(vectors, name);
        for column in 0..program.columns.len() {
            for part in ["values", "validity"] {
                let field = format!("column.{column}.{part}");
                match vector.text(&field).unwrap() {
                    "absent" => execution.args.push(Arg::Absent),
                    hex => {
                        let offset = vector.number(&format!("{field}_bit_offset"));
                        execution.reads(device, hex, offset.try_into().unwrap());
                    }
                }
            }
        }
        for param in 0..program.params.len() {
            let value = vector.number(&format!("parameter.{param}"));
            execution.args.push(Arg::Scalar(value.to_le_bytes()));
        }
        for (kind, count) in [("table", program.tables.len()), ("set", program.sets.len())] {
            for number in 0..count {
                let hex = vector.text(&format!("{kind}.{number}")).unwrap();
                execution.reads(device, hex, 0);
            }
        }
        let validity = execution.rows.div_ceil(8);
        if program.emit_mask {
            execution.writes(device, validity, "mask");
        }
        let types = program.types();
        for (output, declared) in program.outputs.iter().enumerate() {
            let ty = types[declared.value.index()].unwrap();
            let field = |part: &str| format!("output.{output}.{part}");
            let values = ty.bytes_for(execution.rows);
            execution.writes(device, values, &field("values"));
            match bytecode.number(&field("flags")) {
                1 => execution.writes(device, validity, &field("validity")),
                _ => execution.args.push(Arg::Absent),
            }
        }
        execution
    }

    /// Memory for as many bytes, as the next argument.
    fn argument(
        &mut self,
        device: &DpuDevice,
        kind: MemoryKind,
        bytes: &[u8],
        bit_offset: u8,
    ) -> SlotId {
        let len = bytes.len() as u64;
        let mut memory = lease(device, kind, len.max(1));
        memory.bytes_mut().unwrap()[..bytes.len()].copy_from_slice(bytes);
        let slot = self.list.slot(Slot::Owned(memory));
        let span = span(slot, 0..len);
        self.args.push(Arg::Span { span, bit_offset });
        slot
    }

    fn reads(&mut self, device: &DpuDevice, hex: &str, bit_offset: u8) {
        self.argument(device, MemoryKind::Upload, &parse_hex(hex), bit_offset);
    }

    /// Room for so many bytes, which begin with what the vector says; after a trap it says nothing.
    fn writes(&mut self, device: &DpuDevice, len: u64, field: &str) {
        let room = vec![0xEE; len.try_into().unwrap()];
        let slot = self.argument(device, MemoryKind::Readback, &room, 0);
        if let Some(hex) = self.vector.text(field) {
            self.wanted.push((slot, parse_hex(hex)));
        }
    }

    fn run(mut self, device: &DpuDevice) {
        let Execution { vector, rows, .. } = self;
        let name = &vector.name;
        let status = self.list.slot(Slot::Owned(lease(
            device,
            MemoryKind::Readback,
            Status::BYTES,
        )));
        self.list.push(Command::Dispatch {
            exe: device.compile(&self.program).unwrap(),
            rows,
            args: self.args.into(),
            status: span(status, 0..Status::BYTES),
        });
        let mut queue = device.open_queue(1).unwrap();
        let done = run(&mut *queue, self.list);
        let block: [u8; 24] = vector.hex.as_slice().try_into().unwrap();
        let Status { kept, trap } = Status::from_bytes(block);
        let trapped = vector.number("trapped") == 1;
        assert_eq!(trapped, trap.is_some(), "{name}");
        let wanted = match trap {
            Some(Trap { row, ordinal }) => Outcome::Trapped(Trap { row, ordinal }),
            None => Outcome::Done {
                written: [kept].into(),
            },
        };
        assert_eq!(done.outcome, wanted, "{name}");
        assert_eq!(bytes(&done.list, status.0.into())[..24], block, "{name}");
        assert_eq!(
            self.wanted.is_empty(),
            trapped || self.program.outputs.is_empty() && !self.program.emit_mask
        );
        for (slot, wanted) in self.wanted {
            let found = &bytes(&done.list, slot.0.into())[..wanted.len()];
            assert_eq!(found, wanted, "{name}, slot {}", slot.0);
        }
    }
}
