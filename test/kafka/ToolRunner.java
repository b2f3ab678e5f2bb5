import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's command line tools, one after the other, in one warm JVM.
 *
 * A question on standard input is a count, that many strings (the class, then its arguments) and the tool's standard
 * input; the answer on standard output is the exit code, the tool's standard output and its standard error. Numbers
 * are 32 bits, big endian; each string is its length and its bytes.
 */
public class ToolRunner {
    private static final long LONGEST_MS = 90_000;
    private static volatile Run current = new Run(new byte[0]);

    /** Thrown where a tool ends the process; what it prints while this unwinds it is not kept. */
    private static final class Ended extends Error {
        Ended() {
            super(null, null, false, false);
        }
    }

    private static final class Run {
        final ByteArrayOutputStream out = new ByteArrayOutputStream();
        final ByteArrayOutputStream err = new ByteArrayOutputStream();
        final ByteArrayInputStream in;
        final List<Runnable> hooks = Collections.synchronizedList(new ArrayList<>());
        private Integer code;

        Run(byte[] input) {
            in = new ByteArrayInputStream(input);
        }

        synchronized void end(int code) {
            if (this.code == null) {
                this.code = code;
            }
        }

        synchronized void write(ByteArrayOutputStream stream, byte[] data, int offset, int length) {
            if (code == null) {
                stream.write(data, offset, length);
            }
        }

        synchronized int code() {
            return code == null ? 0 : code;
        }
    }

    private static PrintStream redirected(boolean isError) {
        return new PrintStream(new OutputStream() {
            @Override
            public void write(int b) {
                write(new byte[] {(byte) b}, 0, 1);
            }

            @Override
            public void write(byte[] data, int offset, int length) {
                Run run = current;
                run.write(isError ? run.err : run.out, data, offset, length);
            }
        }, true, StandardCharsets.UTF_8);
    }

    private static void end(int code, String message) {
        Run run = current;
        List<Runnable> hooks = new ArrayList<>(run.hooks);
        run.hooks.clear();
        hooks.forEach(Runnable::run);
        run.end(code);
        throw new Ended();
    }

    public static void main(String[] args) throws Exception {
        DataInputStream questions = new DataInputStream(System.in);
        DataOutputStream answers = new DataOutputStream(System.out);
        System.setOut(redirected(false));
        System.setErr(redirected(true));
        Exit.setExitProcedure(ToolRunner::end);
        Exit.setHaltProcedure(ToolRunner::end);
        Exit.setShutdownHookAdder((name, hook) -> current.hooks.add(hook));
        while (true) {
            int count;
            try {
                count = questions.readInt();
            } catch (EOFException e) {
                System.exit(0);
                return;
            }
            String[] words = new String[count];
            for (int i = 0; i < count; i++) {
                words[i] = new String(read(questions), StandardCharsets.UTF_8);
            }
            Run run = new Run(read(questions));
            current = run;
            System.setIn(run.in);
            run(words);
            answers.writeInt(run.code());
            write(answers, run.out);
            write(answers, run.err);
            answers.flush();
        }
    }

    private static void run(String[] words) throws Exception {
        ThreadGroup group = new ThreadGroup("tool");
        Thread main = new Thread(group, () -> invoke(words), "main");
        main.setContextClassLoader(ToolRunner.class.getClassLoader());
        main.start();
        main.join(LONGEST_MS);
        Thread[] left = new Thread[256];
        int count = group.enumerate(left);
        for (int i = 0; i < count; i++) { // as a JVM waits for them
            if (!left[i].isDaemon() && left[i] != main) {
                left[i].join(5_000);
            }
        }
        if (main.isAlive()) {
            StringBuilder where = new StringBuilder();
            for (StackTraceElement at : main.getStackTrace()) {
                where.append("\n  at ").append(at);
            }
            System.err.println("the tool was still running after " + LONGEST_MS + " ms" + where);
            current.end(-1);
        }
        if (!current.hooks.isEmpty()) {
            try {
                end(0, null);
            } catch (Ended e) {
                return;
            }
        }
    }

    private static void invoke(String[] words) {
        try {
            String[] arguments = java.util.Arrays.copyOfRange(words, 1, words.length);
            Class.forName(words[0]).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (java.lang.reflect.InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended)) {
                System.err.print("Exception in thread \"main\" ");
                e.getCause().printStackTrace();
                current.end(1);
            }
        } catch (ReflectiveOperationException e) {
            System.err.println(e);
            current.end(1);
        } catch (Ended e) {
            return;
        }
    }

    private static byte[] read(DataInputStream in) throws IOException {
        byte[] data = new byte[in.readInt()];
        in.readFully(data);
        return data;
    }

    private static void write(DataOutputStream out, ByteArrayOutputStream data) throws IOException {
        out.writeInt(data.size());
        data.writeTo(out);
    }
}
