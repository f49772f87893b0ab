# Copies, finds nothing to do by checksum, and brings changes over.
. "$(dirname "$0")/common.sh"
rsync -aH "$input/$tree" "$input/data" .
rsync -aH --checksum --itemize-changes "$input/$tree" "$input/data" .
rsync -aH --itemize-changes "$input/$tree" "$input/data" .
rsync -aH $tree/ changed
rm changed/script
echo changed >changed/text
chmod 600 changed/large
echo extra >changed/extra
rsync -aH --checksum --delete --itemize-changes $tree/ changed
printf x | dd status=none of=data/size-1048575 bs=1 seek=500000 conv=notrunc
rsync -a --inplace --no-whole-file --checksum --itemize-changes "$input/data/" data
