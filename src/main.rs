//! The `rowgate` command. Everything it does is in [`rowgate::cli`].

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rowgate::cli::run()
}
