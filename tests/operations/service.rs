//! What a service manager hears; the test plays systemd.

use std::os::unix::net::UnixDatagram;

use crate::program::{Daemon, PATIENCE, tiny};

#[test]
fn a_service_manager_hears_ready_alive_reloading_and_stopping_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path());
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Daemon::command(folder.path(), &model, &[]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut daemon = Daemon::spawn(command);
    let next = || {
        let mut heard = [0; 200];
        let length = manager.recv(&mut heard).expect("it says so in time");
        String::from_utf8_lossy(&heard[..length]).into_owned()
    };
    // Signs of life come at any time once it is ready.
    let other = || std::iter::repeat_with(next).find(|said| said != "WATCHDOG=1").expect("it goes on for ever");
    let ready = next();
    assert_eq!(ready, format!("READY=1\nSTATUS=Serves on {}", daemon.address));
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    daemon.signal("HUP");
    assert_eq!([other(), other()], ["RELOADING=1", "READY=1"]);
    daemon.signal("TERM");
    assert_eq!(other(), "STOPPING=1\nSTATUS=Drains");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}
