# Runs as root in a throw-away Debian, in which nothing of gmqtt has ever been. Each line has to succeed.
set -eux

say() { echo "== $*"; } 2>/dev/null
main_pid() { systemctl show --property=MainPID --value gmqtt; }
wait_for() { for _ in $(seq 100); do if "$@"; then return; fi; sleep 0.1; done; echo "never: $*"; return 1; } 2>/dev/null
is_another() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && systemctl is-active --quiet gmqtt; }

say "install: it runs, as its own user, and starts with the machine"
dpkg --install /trial/gmqtt.deb
systemctl is-active gmqtt
systemctl is-enabled gmqtt
[ "$(ps -o user= -p "$(main_pid)")" = gmqtt ]
gmqtt admin health
[ "$(stat -c '%U %a' /var/lib/gmqtt)" = 'gmqtt 700' ]
# As many open files as the unit says, or as this machine lets anybody have.
files() { awk '/Max open files/ { print ($5 < 200000) ? $5 : 200000 }' "/proc/$1/limits"; }
[ "$(files "$(main_pid)")" = "$(files 1)" ]
[ -s /usr/share/man/man1/gmqtt-serve.1.gz ]
gmqtt check-config >/dev/null
systemd-analyze security gmqtt | tail -1

say "what it acknowledges survives kill -9, by systemd's restart"
gmqtt sub -c -i keeper -q 1 -t 'trial/#' -E
gmqtt pub -q 1 -t trial/waits -m 'from before the kill'
gmqtt pub -q 1 -r -t trial/retained -m 'from before the kill'
old=$(main_pid)
kill -KILL "$old"
wait_for is_another "$old"
[ "$(gmqtt sub -C 1 -W 10 -t trial/retained)" = 'from before the kill' ]

say "one that is stuck is started again by the watchdog"
mkdir -p /run/systemd/system/gmqtt.service.d
printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/gmqtt.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart gmqtt
sleep 5
old=$(main_pid)
systemctl is-active gmqtt
kill -STOP "$old"
wait_for is_another "$old"
rm -r /run/systemd/system/gmqtt.service.d
systemctl daemon-reload

say "a reload takes the configuration; one that makes no sense is refused, and is not tried for ever"
sed -i 's/^#level = .*/level = "debug"/' /etc/gmqtt/gmqtt.toml
gmqtt check-config | grep 'level = "debug"'
old=$(main_pid)
systemctl reload gmqtt
gmqtt admin health
[ "$(main_pid)" = "$old" ]
sed -i 's/^#max_inflight = .*/max_inflight = "many"/' /etc/gmqtt/gmqtt.toml
if systemctl restart gmqtt; then echo 'it started on nonsense'; exit 1; fi
sleep 5
systemctl is-failed gmqtt
sed -i 's/^max_inflight = .*/max_inflight = 20/' /etc/gmqtt/gmqtt.toml
systemctl start gmqtt

say "upgrade: the new one runs, with the messages and the configuration of the old one"
old=$(main_pid)
dpkg --install /trial/later.deb
wait_for is_another "$old"
grep -q 'level = "debug"' /etc/gmqtt/gmqtt.toml
[ "$(gmqtt sub -c -i keeper -q 1 -C 1 -W 10 -t 'trial/#')" = 'from before the kill' ]

say "remove: it is gone, its data is not"
dpkg --remove gmqtt
if pidof gmqtt; then echo 'it still runs'; exit 1; fi
[ -d /var/lib/gmqtt ]
[ -f /etc/gmqtt/gmqtt.toml ]

say "purge: nothing is left but its user"
dpkg --purge gmqtt
for path in /var/lib/gmqtt /etc/gmqtt /usr/bin/gmqtt /usr/lib/systemd/system/gmqtt.service \
	/etc/systemd/system/multi-user.target.wants/gmqtt.service /run/gmqtt; do
	if [ -e "$path" ] || [ -L "$path" ]; then echo "left behind: $path"; exit 1; fi
done

say "and once more"
dpkg --install /trial/gmqtt.deb
systemctl is-active gmqtt
dpkg --purge gmqtt
