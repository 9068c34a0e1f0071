"""A SCADA master on opendnp3 (C++), driven by lines on stdin; answers in JSON lines on stdout.

Runs in a venv of its own (`make peers-dnp3`) and imports nothing of Tieline. Lines: `scan`, `points`, `events`,
`direct AO INDEX VALUE`, `select AO INDEX VALUE`, `direct BO INDEX on|off`, `select BO INDEX on|off`, `quit`.
"""

import json
import queue
import sys
import threading

import opendnp3 as dnp

KINDS = {
    "IndexedAnalog": "AI",
    "IndexedBinary": "BI",
    "IndexedAnalogOutputStatus": "AO",
    "IndexedBinaryOutputStatus": "BO",
}


class Seen(dnp.ISOEHandler):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.points, self.events, self.fragments, self.unsolicited = {}, 0, 0, 0

    def BeginFragment(self, info):
        with self.lock:
            self.fragments += 1
            self.unsolicited += bool(getattr(info, "unsolicited", False))

    def EndFragment(self, info):
        pass

    def Process(self, info, values):
        with self.lock:
            for one in values:
                kind = KINDS.get(type(one).__name__)
                if kind is None:
                    continue
                time = getattr(one.value, "time", None)
                self.points[f"{kind}{one.index}"] = [
                    one.value.value,
                    one.value.flags.value,
                    getattr(time, "value", 0),
                    bool(info.isEventVariation),
                ]
                self.events += bool(info.isEventVariation)


class Application(dnp.IMasterApplication):
    def __init__(self, done):
        super().__init__()
        self.done, self.opened = done, 0

    def OnOpen(self):
        self.opened += 1

    def OnClose(self):
        pass

    def OnTaskComplete(self, info):
        self.done.put(str(info.type) + " " + str(info.result))

    def Now(self):
        return dnp.UTCTimestamp(0)


class Listener(dnp.IChannelListener):
    def OnStateChange(self, state):
        pass


class Quiet(dnp.ILogHandler):
    def log(self, *entry):
        pass


def control(kind, value):
    if kind == "AO":
        return dnp.AnalogOutputInt32(int(value))
    return dnp.ControlRelayOutputBlock(dnp.OperationType.LATCH_ON if value == "on" else dnp.OperationType.LATCH_OFF)


def operate(master, how, kind, index, value):
    answers = queue.Queue()
    call = master.DirectOperate if how == "direct" else master.SelectAndOperate

    def done(result):
        answers.put([result.summary.name, [[p.index, p.state.name, p.status.name] for p in result.to_list()]])

    call(control(kind, value), int(index), done)
    return answers.get(timeout=50)


def main(host, port, local, remote):
    done = queue.Queue()
    seen, application, listener = Seen(), Application(done), Listener()
    manager = dnp.DNP3Manager(1, Quiet())
    config = dnp.MasterStackConfig()
    config.link.LocalAddr, config.link.RemoteAddr = int(local), int(remote)
    channel = manager.AddTCPClient(
        "c", dnp.levels.NOTHING, dnp.ChannelRetry.Default(), [dnp.IPEndpoint(host, int(port))], "0.0.0.0", listener
    )
    master = channel.AddMaster("m", seen, application, config)
    master.Enable()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "quit":
            break
        if words[0] == "scan":
            master.ScanClasses(dnp.ClassField.AllClasses(), seen)
            answer = "asked"
        elif words[0] == "points":
            with seen.lock:
                answer = {
                    "points": dict(seen.points),
                    "events": seen.events,
                    "unsolicited": seen.unsolicited,
                    "opened": application.opened,
                    "tasks": list(done.queue),
                }
        else:
            answer = operate(master, *words)
        print(json.dumps(answer), flush=True)
    manager.Shutdown()


main(*sys.argv[1:])
