//! `completions` and `man`: files for packages, made from the definition of the command line.

use super::cli::definition;
use super::failure::Failure;
use super::output::print_stdout;
use clap_complete::Shell;

/// Prints the completion script of a shell.
pub fn print_completions(shell: Shell) {
    let mut definition = definition();
    let name = definition.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition, name, &mut script);
    print_stdout(&String::from_utf8_lossy(&script));
}

/// Prints the man page of the program in roff.
pub fn print_man_page() -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(definition())
        .render(&mut page)
        .map_err(|error| Failure::Runtime(format!("cannot make the man page: {error}")))?;
    print_stdout(&String::from_utf8_lossy(&page));
    Ok(())
}
