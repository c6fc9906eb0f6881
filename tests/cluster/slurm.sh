#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: slurm.sh up|down|install [FOLDER]
#
# All that it writes is in FOLDER (/tmp/harness-slurm); FOLDER/slurm.conf is what SLURM_CONF names.
# up and down may be repeated. It listens on 127.0.0.1 alone, at ports of its own, and needs root.
set -euo pipefail
folder=${2:-/tmp/harness-slurm}
export PATH=$PATH:/usr/sbin
daemons=(munged mariadbd slurmdbd slurmctld slurmd)

install() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        slurm-wlm slurmdbd munge mariadb-server
}

needed() {
    local name
    [ "$(id -u)" = 0 ] || { echo "slurm.sh: the daemons need root" >&2; exit 1; }
    for name in "${daemons[@]}"; do
        command -v "$name" >/dev/null && continue
        echo "slurm.sh: $name is not installed: tests/cluster/slurm.sh install (Debian)" >&2
        exit 1
    done
}

# The process of a daemon, if it is there; of another program that has its number now, nothing.
process() {
    local pid
    pid=$(cat "$folder/$1.pid" 2>/dev/null) || return 1
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] && echo "$pid"
}

until_true() {
    local what=$1 end=$((SECONDS + 60))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > end)); then
            echo "slurm.sh: $what does not answer; its log is in $folder" >&2
            exit 1
        fi
        sleep 0.1
    done
}

down() {
    local name pid
    # The last one first. Jobs end with slurmd's processes.
    for name in slurmd slurmctld slurmdbd mariadbd munged; do
        pid=$(process "$name") || continue
        kill "$pid" 2>/dev/null || true
        until_true "$name" bash -c "! kill -0 $pid"
    done
    rm -rf "$folder"
}

# What the tests need beside the defaults: job steps end soon after SIGTERM, a requeued job may
# begin soon, and a node has room for all jobs of a test, with devices that are none.
configure() {
    cat >"$folder/slurm.conf" <<CONF
ClusterName=harness
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=26819
AccountingStoragePass=$folder/munge.socket
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerNode=6000
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0,sched_interval=2
KillWait=5
ReturnToService=2
MpiDefault=none
GresTypes=gpu
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:2 Feature=small
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
CONF
    sed '/^AccountingStorage/d' "$folder/slurm.conf" >"$folder/without-accounting.conf"
    cat >"$folder/gres.conf" <<CONF
Name=gpu File=/dev/null
Name=gpu File=/dev/zero
CONF
    cat >"$folder/slurmdbd.conf" <<CONF
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=26819
PidFile=$folder/slurmdbd.pid
LogFile=$folder/slurmdbd.log
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=26820
StorageUser=slurm
StoragePass=slurm
CONF
    chmod 600 "$folder/slurmdbd.conf"
}

database() {
    mariadb-install-db --no-defaults --user=root --auth-root-authentication-method=socket \
        --skip-test-db --datadir="$folder/database" >"$folder/database.log" 2>&1
    mariadbd --no-defaults --user=root --datadir="$folder/database" \
        --socket="$folder/mariadb.socket" --pid-file="$folder/mariadbd.pid" \
        --bind-address=127.0.0.1 --port=26820 --innodb-flush-log-at-trx-commit=2 \
        --skip-name-resolve >>"$folder/database.log" 2>&1 &
    until_true mariadbd mariadb-admin --no-defaults --socket="$folder/mariadb.socket" ping
    mariadb --no-defaults --socket="$folder/mariadb.socket" <<SQL
CREATE DATABASE slurm_acct_db;
CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
SQL
}

up() {
    needed
    down
    mkdir -p "$folder"/{state,spool,key}
    chmod 755 "$folder"
    chmod 700 "$folder/key"
    configure
    export SLURM_CONF=$folder/slurm.conf
    dd if=/dev/urandom of="$folder/key/munge.key" bs=128 count=1 status=none
    chmod 400 "$folder/key/munge.key"
    munged --force --socket="$folder/munge.socket" --key-file="$folder/key/munge.key" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
        --seed-file="$folder/munged.seed"
    database
    # It looks for its configuration beside Slurm's.
    slurmdbd
    until_true slurmdbd sacctmgr -n show cluster
    sacctmgr -i add cluster harness >/dev/null 2>&1 || true
    slurmctld -c
    until_true slurmctld scontrol ping
    slurmd -c
    until_true slurmd sh -c 'sinfo -h -o %T | grep -q idle'
}

case ${1:-} in
up) up ;;
down) down ;;
install) install ;;
*) echo "usage: slurm.sh up|down|install [FOLDER]" >&2; exit 2 ;;
esac
