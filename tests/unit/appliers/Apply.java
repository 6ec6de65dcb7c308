// Applies patches as a partner would; the method is the one that docs/patches.md shows.

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;

final class Apply {
    record Op(int offset, int delete, String insert) {}

    static byte[] apply(byte[] base, List<Op> ops) {
        var result = new ByteArrayOutputStream();
        int done = 0;
        for (Op op : ops) {
            result.write(base, done, op.offset() - done);
            result.writeBytes(op.insert().getBytes(UTF_8));
            done = op.offset() + op.delete();
        }
        result.write(base, done, base.length - done);
        return result.toByteArray();
    }

    // A line each: the base in base 64, then offset, delete and insert (base 64) of each operation; out comes the result in base 64.
    public static void main(String[] args) throws IOException {
        var input = new BufferedReader(new InputStreamReader(System.in, UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] fields = line.split("\t", -1);
            var ops = new ArrayList<Op>();
            for (int i = 1; i < fields.length; i += 3) {
                String insert = new String(Base64.getDecoder().decode(fields[i + 2]), UTF_8);
                ops.add(new Op(Integer.parseInt(fields[i]), Integer.parseInt(fields[i + 1]), insert));
            }
            byte[] base = Base64.getDecoder().decode(fields[0]);
            System.out.println(Base64.getEncoder().encodeToString(apply(base, ops)));
        }
    }
}
