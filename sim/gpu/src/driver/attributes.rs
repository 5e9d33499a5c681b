//! What devices and functions say of themselves.

use super::code::{Answer, Code};
use super::state::State;
use crate::gpu::{MAX_SHARED, MAX_THREADS};

impl State {
    /// A `CUdevice_attribute`, by its number in `cuda.h`. Those of what is not simulated are 0, as
    /// a device says of what it lacks.
    pub(crate) fn device_attribute(&self, attribute: i32, ordinal: i32) -> Answer<i32> {
        let profile = self.profile(ordinal)?;
        let (major, minor) = profile.compute_capability;
        Ok(match attribute {
            1..=3 => MAX_THREADS as i32,
            4 => 64,                                // block z
            5 => i32::MAX,                          // grid x
            6 | 7 => 65_535,                        // grid y, z
            8 | 97 => MAX_SHARED as i32,            // shared memory of a block
            9 => 65_536,                            // constant memory
            10 => 32,                               // warp
            12 | 82 => 65_536,                      // registers
            13 => (profile.clock_hz / 1000) as i32, // kHz
            16 => profile.multiprocessors as i32,
            15 | 31 | 41 | 78 | 91 | 95 | 99 | 115 => 1, // what is simulated
            // Integrated; kernels reach memory of the host, pageable too, through its page tables.
            18 | 19 | 88 | 100 => i32::from(profile.coherent),
            33 => 1 + ordinal, // PCI bus
            39 => 2048,        // threads of a multiprocessor
            40 => 2,           // copy engines
            75 => major as i32,
            76 => minor as i32,
            81 => 102_400, // shared memory of a multiprocessor
            106 => 32,     // blocks of a multiprocessor
            0 | i32::MIN..0 => return Err(Code::INVALID_VALUE),
            _ => 0,
        })
    }

    /// Domain, bus, device and function.
    pub(crate) fn pci_address(&self, ordinal: i32) -> Answer<String> {
        self.device(ordinal)?;
        Ok(format!("0000:{:02x}:00.0", 1 + ordinal))
    }

    /// The device at such an address.
    pub(crate) fn at_pci_address(&self, address: &str) -> Answer<i32> {
        let matches = |ordinal: &i32| {
            self.pci_address(*ordinal).is_ok_and(|known| {
                known.eq_ignore_ascii_case(address) || known[5..].eq_ignore_ascii_case(address)
            })
        };
        (0..self.device_count() as i32)
            .find(matches)
            .ok_or(Code::INVALID_DEVICE)
    }

    /// Sixteen bytes that begin as the text "unlade-sim".
    pub(crate) fn uuid(&self, ordinal: i32) -> Answer<[u8; 16]> {
        let mut uuid = *b"unlade-sim-gpu-0";
        uuid[15] += self.device(ordinal)? as u8;
        Ok(uuid)
    }

    /// A `CUfunction_attribute`, by its number in `cuda.h`.
    pub(crate) fn function_attribute(&mut self, attribute: i32, function: u64) -> Answer<i32> {
        self.enter()?;
        let function = self.functions.get(&function).ok_or(Code::INVALID_HANDLE)?;
        Ok(match attribute {
            0 => function
                .kernel
                .max_threads()
                .unwrap_or(MAX_THREADS)
                .min(MAX_THREADS) as i32,
            1 => function.kernel.shared_bytes() as i32,
            2 | 3 => 0, // constant and local memory
            // How many registers an assembler would use is not known here.
            4 => return Err(Code::NOT_SUPPORTED),
            5 => function.version.0 as i32 * 10 + function.version.1 as i32,
            6 => function.target as i32,
            8 => (MAX_SHARED - function.kernel.shared_bytes().min(MAX_SHARED)) as i32,
            _ => return Err(Code::INVALID_VALUE),
        })
    }
}
