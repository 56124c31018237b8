//! The `understudy` command. All it does is in the library, so that tests can call it too.

fn main() -> std::process::ExitCode {
    understudy::cli::main()
}
