//! Modules, functions and launches.

use std::sync::Arc;

use super::code::{Answer, Code};
use super::fault::{DriverChance, DriverFault};
use super::state::{Link, State};
use super::stream::StreamId;
use super::work::{Launch, Work};
use crate::gpu::{self, Grid};
use crate::host::HostRange;
use crate::ptx::{Kernel, Module, ParseErrorKind};

/// A module, and the device in whose context it is.
#[derive(Clone, Debug)]
pub(super) struct LoadedModule {
    module: Arc<Module>,
    device: usize,
}

/// A kernel of a module that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) kernel: Arc<Kernel>,
    pub(super) version: (u32, u32),
    pub(super) target: u32,
    module: u64,
}

/// Where an assembler's messages go, if anywhere.
pub(crate) type Log = Option<HostRange>;

impl State {
    /// Loads PTX text, or what a link made of it, which is the same.
    pub(crate) fn load_module(&mut self, image: &[u8], log: Log) -> Answer<u64> {
        let device = self.enter_to_allocate()?;
        let module = self.assemble(device, image, log)?;
        let handle = self.handle();
        let module = Arc::new(module);
        self.modules.insert(handle, LoadedModule { module, device });
        Ok(handle)
    }

    fn assemble(&mut self, device: usize, image: &[u8], log: Log) -> Answer<Module> {
        let Ok(text) = std::str::from_utf8(image) else {
            // Machine code for a real GPU, or garbage.
            let is_machine_code = image.starts_with(b"\x7fELF");
            return Err(if is_machine_code {
                Code::NO_BINARY
            } else {
                Code::INVALID_IMAGE
            });
        };
        if text.starts_with("\x7fELF") {
            return Err(Code::NO_BINARY);
        }
        let parsed = Module::parse(text).map_err(|error| {
            let code = match error.kind {
                ParseErrorKind::Version => Code::UNSUPPORTED_PTX,
                _ => Code::INVALID_PTX,
            };
            self.tell(log, code, &error.to_string());
            code
        })?;
        let (major, minor) = self.devices[device].profile.compute_capability;
        if parsed.target() > major * 10 + minor {
            let message = format!(
                "`.target sm_{}` is newer than the GPU's {major}.{minor}",
                parsed.target()
            );
            self.tell(log, Code::NO_BINARY, &message);
            return Err(Code::NO_BINARY);
        }
        Ok(parsed)
    }

    /// Writes a message to the log and beside the code's meaning.
    fn tell(&mut self, log: Log, code: Code, message: &str) {
        self.explain(code, message);
        let Some(log) = log.filter(|log| log.len() > 0) else {
            return;
        };
        let mut bytes = message.as_bytes().to_vec();
        bytes.truncate(log.len() - 1);
        bytes.push(0);
        log.write(&bytes);
    }

    /// Waits for everything first, and forgets the module's functions.
    pub(crate) fn unload_module(&mut self, module: u64) -> Answer {
        let device = self.enter()?;
        if !self.modules.contains_key(&module) {
            return Err(Code::INVALID_HANDLE);
        }
        let drained = self.drain_device(device);
        self.modules.remove(&module);
        self.functions
            .retain(|_, function| function.module != module);
        drained
    }

    /// Those of a context that is destroyed.
    pub(super) fn forget_modules(&mut self, device: usize) {
        self.modules.retain(|_, known| known.device != device);
        let modules = &self.modules;
        self.functions
            .retain(|_, function| modules.contains_key(&function.module));
    }

    pub(crate) fn function(&mut self, module: u64, name: &str) -> Answer<u64> {
        self.enter()?;
        let known = &self
            .modules
            .get(&module)
            .ok_or(Code::INVALID_HANDLE)?
            .module;
        let kernel = known.kernel(name).ok_or(Code::NOT_FOUND)?.clone();
        let (version, target) = (known.version(), known.target());
        let same = |(_, function): &(&u64, &Function)| {
            function.module == module && function.kernel.name() == name
        };
        if let Some((handle, _)) = self.functions.iter().find(same) {
            return Ok(*handle);
        }
        let handle = self.handle();
        self.functions.insert(
            handle,
            Function {
                kernel,
                version,
                target,
                module,
            },
        );
        Ok(handle)
    }

    pub(crate) fn kernel(&self, function: u64) -> Answer<Arc<Kernel>> {
        let function = self.functions.get(&function).ok_or(Code::INVALID_HANDLE)?;
        Ok(function.kernel.clone())
    }

    // Links, which leave the text as it is once it is found to be right.

    pub(crate) fn create_link(&mut self, log: Log) -> Answer<u64> {
        self.enter_to_allocate()?;
        let handle = self.handle();
        self.links.insert(
            handle,
            Link {
                log,
                ..Link::default()
            },
        );
        Ok(handle)
    }

    pub(crate) fn add_to_link(&mut self, link: u64, image: &[u8]) -> Answer {
        let device = self.enter()?;
        let log = self.links.get(&link).ok_or(Code::INVALID_HANDLE)?.log;
        let image = image.split(|&byte| byte == 0).next().unwrap_or_default();
        self.assemble(device, image, log)?;
        let link = self.links.get_mut(&link).ok_or(Code::INVALID_HANDLE)?;
        if !link.image.is_empty() {
            // Modules do not refer to each other, so there is nothing to link two for.
            return Err(Code::NOT_SUPPORTED);
        }
        link.image = [image, b"\0"].concat();
        Ok(())
    }

    /// The image: its address, which is good until the link is destroyed, and its size.
    pub(crate) fn complete_link(&mut self, link: u64) -> Answer<(*const u8, usize)> {
        self.enter()?;
        let link = self.links.get(&link).ok_or(Code::INVALID_HANDLE)?;
        if link.image.is_empty() {
            return Err(Code::INVALID_IMAGE);
        }
        Ok((link.image.as_ptr(), link.image.len()))
    }

    pub(crate) fn destroy_link(&mut self, link: u64) -> Answer {
        self.links
            .remove(&link)
            .map(drop)
            .ok_or(Code::INVALID_HANDLE)
    }

    /// Launches a kernel with parameters that lie as it declares them.
    pub(crate) fn launch(
        &mut self,
        kernel: Arc<Kernel>,
        grid: Grid,
        parameters: Vec<u8>,
        stream: StreamId,
    ) -> Answer {
        if grid.blocks[1].max(grid.blocks[2]) > 65_535 || grid.blocks[0] > i32::MAX as u32 {
            return Err(Code::INVALID_VALUE);
        }
        if grid.dynamic_shared + kernel.shared_bytes() > gpu::MAX_SHARED {
            return Err(Code::OUT_OF_RESOURCES);
        }
        gpu::check(&kernel, &grid).map_err(|_| Code::INVALID_VALUE)?;
        let fault = self.strike(DriverChance::Launch);
        match fault {
            Some(DriverFault::LaunchRefused) => return Err(Code::OUT_OF_RESOURCES),
            Some(DriverFault::Hang) => self.hang(stream),
            _ => {}
        }
        let launch = Launch {
            kernel,
            grid: grid.blocks,
            block: grid.threads,
            dynamic_shared: grid.dynamic_shared,
            parameters,
            fails: fault == Some(DriverFault::LaunchFails),
        };
        self.push(stream, Work::Launch(launch))
    }
}
